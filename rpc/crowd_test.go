package rpc

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadersOfACrowdGoOnInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(Server)
		srv.crowd.places = 1
		readerOf := func(acct *account) (*conn, *reader) {
			return &conn{srv: srv, guest: &guest{account: acct}}, new(reader)
		}
		one, another, third := newAccount(1000), newAccount(1001), newAccount(1002)

		c, rd := readerOf(one)
		require.False(t, c.stepForward(rd))
		require.Equal(t, alone, rd.position)
		require.False(t, c.stepForward(rd)) // again: it is there
		first, firstReader := readerOf(one)
		require.False(t, first.stepForward(firstReader))
		require.Equal(t, placed, firstReader.position)

		// The place is taken now.
		var order []string
		var all sync.WaitGroup
		queueUp := func(name string, acct *account) {
			all.Go(func() {
				c, rd := readerOf(acct)
				require.True(t, c.stepForward(rd))
				require.Equal(t, placed, rd.position)
				order = append(order, name)
				c.stepBack(rd)
				require.Equal(t, behind, rd.position)
			})
			synctest.Wait()
		}
		queueUp("one 1", one)
		queueUp("one 2", one)
		queueUp("one 3", one)
		other, otherReader := readerOf(another)
		require.False(t, other.stepForward(otherReader))
		require.Equal(t, alone, otherReader.position)
		queueUp("another 1", another)
		queueUp("another 2", another)
		require.Empty(t, order)
		require.True(t, srv.crowd.queued())

		// Who comes alone is let through, and lets nobody in: it had no place.
		last, lastReader := readerOf(third)
		require.False(t, last.stepForward(lastReader))
		last.stepBack(lastReader)
		c.stepBack(rd)
		other.stepBack(otherReader)
		synctest.Wait()
		require.Empty(t, order)

		first.stepBack(firstReader)
		first.stepBack(firstReader) // again: it is not there
		all.Wait()
		require.Equal(t, []string{"one 1", "another 1", "one 2", "another 2", "one 3"}, order)
		require.False(t, srv.crowd.queued())
		require.Equal(t, 1, srv.crowd.places)
		require.Equal(t, rank{waiting: []chan struct{}{}}, one.rank)
	})
}

// TestACrowdIsServedLikeAnybody: readers that take turns all the time answer all
// that they are asked, whatever makes them wait.
func TestACrowdIsServedLikeAnybody(t *testing.T) {
	srv := &Server{Methods: testMethods(t)}
	srv.sweeper.late = -1
	uids := make(chan uint32, 1)
	uids <- 0
	srv.Identify = func(_ net.Listener, _ net.Conn, peer *Peer) error {
		uid := <-uids
		uids <- uid + 1
		peer.UID = 2000 + uid%2 // half of the clients are another user
		return nil
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	var clients sync.WaitGroup
	for range 40 {
		clients.Go(func() {
			c, err := Dial(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			for i := range 100 {
				sent, got := []string{fmt.Sprint(i)}, []string(nil)
				if i%100 == 0 { // needs a buffer of its own
					sent = append(sent, strings.Repeat("x", 100<<10))
				}
				if err := c.Call(t.Context(), "echo", sent, &got); err != nil || !slices.Equal(sent, got) {
					t.Errorf("call %d: %v", i, err)
					return
				}
			}
		})
	}
	clients.Wait()
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, ErrServerClosed)
}

func TestThePaceOfACrowdIsThatOfItsMean(t *testing.T) {
	var p pace
	now := time.Now()
	for range paceCatchUp / paceInterval {
		require.LessOrEqual(t, p.step(now), time.Duration(0)) // catches up
	}
	require.Equal(t, paceInterval, p.step(now))
	require.Equal(t, 2*paceInterval, p.step(now))
	now = now.Add(2 * paceInterval)
	require.Equal(t, paceInterval, p.step(now))
	require.Negative(t, p.step(now.Add(time.Hour)))
}
