package rpc

import (
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInACrowdFewReadersOfOneUIDGoOnAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := func(acct *account) (*conn, *reader) { return &conn{guest: &guest{account: acct}}, new(reader) }
		one, another := newAccount(1000), newAccount(1001)
		front, rd := reader(one)
		for range runtime.GOMAXPROCS(0) - 1 {
			c, rd := reader(one)
			c.stepForward(rd)
		}
		front.stepForward(rd)
		front.stepForward(rd) // again: it is there

		var order []int
		var next sync.WaitGroup
		for i := range 3 {
			next.Go(func() {
				c, rd := reader(one)
				c.stepForward(rd)
				order = append(order, i)
				c.stepBack(rd)
			})
			synctest.Wait()
		}
		require.Empty(t, order)
		c, other := reader(another)
		c.stepForward(other) // does not wait

		front.stepBack(rd)
		next.Wait()
		require.Equal(t, []int{0, 1, 2}, order)
		front.stepBack(rd) // again: it is not there
		require.Len(t, one.front, runtime.GOMAXPROCS(0)-1)
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
