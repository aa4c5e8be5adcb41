package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// healthDuring calls daemon.health every 5 ms until the function that it returns
// is called, which returns what each call took, in ascending order.
func healthDuring(t *testing.T, path string) func() []time.Duration {
	t.Helper()
	c, err := dial(t, path)
	require.NoError(t, err)
	stop, done := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for {
			select {
			case <-stop:
				slices.Sort(took)
				done <- took
				return
			case <-time.After(5 * time.Millisecond):
			}
			begin := time.Now()
			if _, err := c.call(`{"jsonrpc":"2.0","id":1,"method":"daemon.health"}`); err != nil {
				took = append(took, patience)
			}
			took = append(took, time.Since(begin))
		}
	}()
	return func() []time.Duration {
		close(stop)
		return <-done
	}
}

func TestAnotherUIDGetsTheFirstSlotThatOneUIDFreesOfAllThatItHas(t *testing.T) {
	needsRoot(t)
	for _, test := range []struct {
		name   string
		each   int // connections of 25 calls
		queued int
	}{
		{"and it has no more calls", 2, 0},
		{"and it has more calls waiting", 10, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, "fixture", "")
			health := healthDuring(t, s.path)
			command(t, attackerUID, "attacker", "-connections", fmt.Sprint(test.each), "-for", "1m", s.path, "waiters").start()
			require.Eventually(t, func() bool {
				st := s.status()
				return st.Running == 50 && st.Queued == test.queued
			}, patience, time.Millisecond)

			other, err := dial(t, s.path)
			require.NoError(t, err)
			answered := make(chan error, 1)
			go func() {
				_, err := other.call(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo"}`)
				answered <- err
			}()
			require.Eventually(t, func() bool { return s.status().Queued == test.queued+1 }, patience, time.Millisecond)

			freed := time.Now()
			released, err := s.root.call(`{"jsonrpc":"2.0","id":1,"method":"rpc.release","params":{"n":1}}`)
			require.NoError(t, err)
			require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":1}`, released)
			select {
			case err := <-answered:
				require.NoError(t, err)
			case <-time.After(5 * time.Second): // no other slot becomes free
				require.FailNow(t, "the slot went to another call of the same uid")
			}
			took := health()
			t.Logf("answered %s after the slot became free; health took at most %s, half of it %s",
				time.Since(freed), took[len(took)-1], took[len(took)/2])
			require.Less(t, took[len(took)/2], issueBounds.health)
			require.Less(t, took[len(took)-1], chosenForm().bounds.health)
		})
	}
}

func TestRootGetsInWhileOrdinaryUsersHaveAllConnections(t *testing.T) {
	needsRoot(t)
	s := serve(t, "marianned", "")
	require.NoError(t, s.root.Close())
	for i := range 2 {
		command(t, uint32(attackerUID+i), "attacker", "-connections", fmt.Sprint(crowd), "-for", "1m", s.path, "hold").start()
	}
	asked := func() (status, time.Duration) {
		begin := time.Now()
		c, err := dial(t, s.path)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		st, err := c.status()
		require.NoError(t, err)
		return st, time.Since(begin)
	}
	full := func(st status) bool { return st.Connections > 500 && st.Refusals["max_connections_per_uid"] > 0 }
	require.Eventually(t, func() bool {
		st, _ := asked()
		return full(st)
	}, patience, 10*time.Millisecond)

	// Again and again, and several at once.
	for range 20 {
		st, took := asked()
		require.True(t, full(st), "%+v", st)
		require.Less(t, took, time.Second)
	}
	for range 5 {
		c, err := dial(t, s.path)
		require.NoError(t, err)
		st, err := c.status()
		require.NoError(t, err)
		require.True(t, full(st), "%+v", st)
	}
}
