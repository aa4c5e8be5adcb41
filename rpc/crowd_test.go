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
		srv.front.places = 1
		readerOf := func(acct *account) (*conn, *reader) {
			return &conn{srv: srv, guest: &guest{account: acct}}, new(reader)
		}
		one, another, third := newAccount(1000), newAccount(1001), newAccount(1002)

		c, rd := readerOf(one)
		require.False(t, c.stepForward(rd))
		require.Equal(t, alone, rd.front)
		require.False(t, c.stepForward(rd)) // again: it is there
		first, firstReader := readerOf(one)
		require.False(t, first.stepForward(firstReader))
		require.Equal(t, placed, firstReader.front)

		// The place is taken now.
		var order []string
		var all sync.WaitGroup
		queueUp := func(name string, acct *account) {
			all.Go(func() {
				c, rd := readerOf(acct)
				require.True(t, c.stepForward(rd))
				require.Equal(t, placed, rd.front)
				order = append(order, name)
				c.stepBack(rd)
				require.Equal(t, behind, rd.front)
			})
			synctest.Wait()
		}
		queueUp("one 1", one)
		queueUp("one 2", one)
		queueUp("one 3", one)
		other, otherReader := readerOf(another)
		require.False(t, other.stepForward(otherReader))
		require.Equal(t, alone, otherReader.front)
		queueUp("another 1", another)
		queueUp("another 2", another)
		require.Empty(t, order)
		require.True(t, srv.front.queued())

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
		require.False(t, srv.front.queued())
		require.Equal(t, 1, srv.front.places)
		require.Equal(t, rank{waiting: []chan struct{}{}}, one.front)
	})
}

// TestNobodyWaitsForAPlaceOnceTheServerHasEnded: a handler that never returns keeps
// no reader but its own.
func TestNobodyWaitsForAPlaceOnceTheServerHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crowd{places: 1}
		var r, another rank
		require.Equal(t, alone, w.enter(&r, nil))
		require.Equal(t, placed, w.enter(&r, nil)) // for ever
		var all sync.WaitGroup
		for _, r := range []*rank{&r, &r, &another, &another} {
			all.Go(func() {
				rd := new(reader)
				at, _ := w.pass(r, rd)
				w.leave(r, at)
			})
		}
		synctest.Wait()
		require.True(t, w.queued())
		w.end()
		all.Wait()
		at, waited := w.pass(&r, new(reader))
		require.Equal(t, alone, at)
		require.False(t, waited)
	})
}

// TestWhoIsKeptWaitingIsNotLateForIt: the time in which a reader waits for its place
// does not count as that of its peer.
func TestWhoIsKeptWaitingIsNotLateForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, acct := new(Server), newAccount(1000)
		for _, size := range []int{0, 1 << 20} {
			for _, w := range []*crowd{&srv.front, &srv.looking} { // which have no place
				*w = crowd{}
				require.Equal(t, alone, w.enter(new(rank), nil))
				w.strict = true
			}
			rd := new(reader)
			rd.frames.buf = newBuffer(size)
			rd.frames.started = time.Now()
			late := rd.frames.started.Add(time.Hour)
			var waits sync.WaitGroup
			waits.Go(func() { (&conn{srv: srv, guest: &guest{account: acct}}).queueUp(rd) })
			time.Sleep(time.Hour)
			srv.front.end()
			srv.looking.end()
			waits.Wait()
			require.Equal(t, late, rd.frames.started)
			acct = newAccount(1000)
		}
	})
}

// TestRepliesDoNotWaitForTheNextTurn: what a turn has answered is written at its end.
func TestRepliesDoNotWaitForTheNextTurn(t *testing.T) {
	srv := &Server{Methods: testMethods(t)}
	srv.sweeper.late = -1
	srv.init()
	path := startServer(t, srv)
	client := dialWire(t, path)
	client.send(`{"jsonrpc":"2.0","id":0,"method":"echo"}` + "\n")
	client.line()
	w, r := &srv.front, &srv.snapshot()[0].guest.account.front
	w.mu.Lock()
	w.places = 0
	w.mu.Unlock()
	srv.adm.mixed.Store(true)
	srv.sweeper.crowded.Store(true)

	turns := make(chan struct{}, 2) // of two others
	require.Equal(t, alone, w.enter(r, nil))
	require.Equal(t, behind, w.enter(r, turns))
	const calls = 2 * crowdedTurn
	client.send(strings.Repeat(`{"jsonrpc":"2.0","method":"echo","id":"x"}`+"\n", calls))
	queued := func(n int) func() bool {
		return func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(r.waiting) == n
		}
	}
	require.Eventually(t, queued(2), patience, time.Millisecond)
	require.Equal(t, behind, w.enter(r, turns))
	w.leave(r, placed) // the first of the others has its turn, and
	w.leave(r, placed) // the reader, which gives its place to the second
	require.Eventually(t, queued(1), patience, time.Millisecond)
	answered := 0
	for ; answered < crowdedTurn-5; answered++ {
		client.line()
	}
	w.leave(r, placed)
	for ; answered < calls; answered++ {
		client.line()
	}
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
