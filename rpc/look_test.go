package rpc

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// largeText needs no larger buffer than its first half does.
var largeText = strings.Repeat("x", 4<<20)

// sentBefore is how much of a large message is sent before others take all places
// of looking: its reader comes to wait for one to get a large buffer, or to read
// into the one that it has.
var sentBefore = []int{0, 2 << 20}

// halfSent begins to send a call with largeText on a connection of srv, takes all
// places of looking, and goes on. sent is closed when the server has read it, and
// letLook gives the places back.
func halfSent(t *testing.T, before int) (srv *Server, client *wireConn, sent chan struct{}, letLook func()) {
	srv = &Server{Methods: testMethods(t)}
	srv.init()
	path := startServer(t, srv)
	places := max(1, runtime.GOMAXPROCS(0)/2)
	require.Equal(t, places, freePlaces(&srv.looking))
	client = dialWire(t, path)
	line := `{"jsonrpc":"2.0","id":1,"method":"echo","params":["` + largeText + `"]}` + "\n"
	client.send(line[:before])
	var acct *account
	require.Eventually(t, func() bool {
		conns := srv.snapshot()
		if len(conns) != 1 || conns[0].held.Load() < int64(before) {
			return false
		}
		acct = conns[0].guest.account
		srv.looking.mu.Lock()
		defer srv.looking.mu.Unlock()
		return acct.looking.front == 0
	}, patience, time.Millisecond)
	for range places {
		require.Equal(t, placed, srv.looking.enter(&acct.looking, nil))
	}
	sent = make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = client.Write([]byte(line[before:])) // fails where the server closes
	}()
	require.Eventually(t, srv.looking.queued, patience, time.Millisecond)
	return srv, client, sent, func() {
		for range places {
			srv.looking.leave(&acct.looking, placed)
		}
	}
}

// TestSmallCallsPassWhatTakesLong: while nobody may look at large messages, small
// calls of the same uid are answered, and what has not been read of whole messages
// waits in the kernel.
func TestSmallCallsPassWhatTakesLong(t *testing.T) {
	for _, before := range sentBefore {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			srv, large, sent, letLook := halfSent(t, before)
			small := dialWire(t, large.RemoteAddr().String())
			for range 100 {
				small.send(`{"jsonrpc":"2.0","id":2,"method":"echo","params":["x"]}` + "\n")
				require.Equal(t, `{"jsonrpc":"2.0","id":2,"result":["x"]}`, small.line())
			}
			select {
			case <-sent:
				require.Fail(t, "the server has read a message that it may not look at")
			default:
			}
			letLook()
			<-sent
			require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":["`+largeText+`"]}`, large.line())
			require.False(t, srv.looking.queued())
			require.Eventually(t, func() bool { return freePlaces(&srv.looking) == max(1, runtime.GOMAXPROCS(0)/2) }, patience, time.Millisecond)
		})
	}
}

// TestWhoWaitsToLookIsNotWaitedFor: a connection whose reader waits for its place is
// closed at once.
func TestWhoWaitsToLookIsNotWaitedFor(t *testing.T) {
	for _, before := range sentBefore {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			srv, _, sent, letLook := halfSent(t, before)
			defer letLook()
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				_ = srv.Close()
			}()
			select {
			case <-closed:
			case <-time.After(patience):
				assert.Fail(t, "the server waits for the reader")
			}
			<-sent
		})
	}
}

func freePlaces(w *crowd) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.places
}
