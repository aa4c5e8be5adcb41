package systemd

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// limitless is for more starts in a time than an operator would make.
const limitless = "[Unit]\nStartLimitIntervalSec=0\n"

// Each restart closes every connection: no call may be lost by that without its
// caller knowing that it was not executed.
func TestARestartTellsEachClientWhatBecameOfItsCalls(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	h := restarted(t, b)
	require.NotZero(t, h.count(answered))
	require.NotZero(t, h.count(refused))
	require.NotZero(t, h.count(cut), "half of the clients have sent half a frame when the daemon stops")
}

// With keep_connections no client sees anything of a restart but that an answer
// takes its time.
func TestWithKeepConnectionsARestartCostsNoClientACallOrItsConnection(t *testing.T) {
	b := installed(t)
	fixture(t, b, "--keep-connections=true")
	h := restarted(t, b)
	require.NotZero(t, h.count(answered))
	require.Zero(t, h.count(refused))
	require.Zero(t, h.count(cut))
	require.Equal(t, soaking(40, 200), h.connections, "one for each client")
}

// restarted restarts the service again and again under clients that call all the
// time, half of which have sent a part of a frame at that moment. Its history has
// been checked.
func restarted(t *testing.T, b *box.Box) *history {
	t.Helper()
	restarts, clients := soaking(10, 300), soaking(40, 200)
	b.DropIn(t, serviceUnit, limitless)
	h := newHistory()
	stop := make(chan struct{})
	var running sync.WaitGroup
	var cutters []*caller
	for i := range clients {
		c := &caller{path: b.Path(socketPath), name: fmt.Sprintf("c%d", i), history: h, window: 1 + i%4}
		if i%2 == 0 {
			c.window, c.cuts = 1, make(chan *cutting, 1)
			cutters = append(cutters, c)
		}
		running.Go(func() { c.run(stop) })
	}
	for range restarts {
		cut := &cutting{make(chan struct{}), make(chan struct{})}
		for _, c := range cutters {
			c.cuts <- cut
		}
		for range cutters {
			select {
			case <-cut.sent:
			case <-time.After(box.Patience):
				require.FailNow(t, "a client does not get on", h.problems)
			}
		}
		b.Systemctl(t, "restart", serviceUnit)
		close(cut.goOn)
	}
	close(stop)
	running.Wait()
	h.check(recorded(t, b))
	t.Logf("%d restarts, %d clients: %d calls answered, %d refused, %d cut off before they began; %d connections, %d of them refused",
		restarts, clients, h.count(answered), h.count(refused), h.count(cut), h.connections, h.notices)
	require.Empty(t, h.problems)
	return h
}
