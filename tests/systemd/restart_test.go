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
	restarts, clients := soaking(10, 300), soaking(40, 200)
	b := installed(t)
	fixture(t, b)
	b.DropIn(t, serviceUnit, limitless)

	h := newHistory()
	stop := make(chan struct{})
	var callers []*caller
	var running sync.WaitGroup
	for i := range clients {
		c := &caller{path: b.Path(socketPath), name: fmt.Sprintf("c%d", i), history: h, window: 1 + i%4}
		if i%2 == 0 {
			c.window, c.cuts = 1, make(chan *cutting, 1)
		}
		callers = append(callers, c)
		running.Go(func() { c.run(stop) })
	}
	for range restarts {
		cut := &cutting{make(chan struct{}), make(chan struct{})}
		for _, c := range callers {
			if c.cuts != nil {
				c.cuts <- cut
			}
		}
		for _, c := range callers {
			if c.cuts != nil {
				select {
				case <-cut.sent:
				case <-time.After(box.Patience):
					require.FailNow(t, "a client does not get on", h.problems)
				}
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
}
