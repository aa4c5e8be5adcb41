package systemd

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// Every second reload finds a file with a mistake.
func TestReloadsUnderLoadDropNothing(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	configure(t, b, "max_batch = 100\n")
	reloads, clients := soaking(20, 1000), soaking(20, 50)
	h := newHistory()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range clients {
		c := &caller{path: b.Path(socketPath), name: fmt.Sprintf("c%d", i), history: h, window: 1 + i%4}
		running.Go(func() { c.run(stop) })
	}
	ended := watch(t, b)
	pid := dial(t, b).health().PID
	for i := range reloads {
		if i%2 == 0 {
			b.Write(t, configFile, fmt.Sprintf("max_batch = %d\n", 100+i))
			b.Systemctl(t, "reload", serviceUnit)
			continue
		}
		b.Write(t, configFile, "max_batch = 7\nmax_bach = 7\n")
		require.NotZero(t, b.Try(t, "systemctl", "reload", serviceUnit).Code)
	}
	setting := b.Run(t, binary, "call", "--json", "daemon.config")
	require.Contains(t, setting, fmt.Sprintf(`"max_batch":%d,`, 100+(reloads-1)/2*2))
	require.Equal(t, pid, dial(t, b).health().PID)
	close(stop)
	running.Wait()
	h.check(recorded(t, b))
	select {
	case line := <-ended:
		require.Fail(t, "a stream has ended", line)
	default:
	}
	t.Logf("%d reloads, %d clients: %d calls answered", reloads, clients, h.count(answered))
	require.Empty(t, h.problems)
	require.NotZero(t, h.count(answered))
	require.Zero(t, h.count(refused)+h.count(cut))
	require.Equal(t, clients, h.connections, "one for each client")
}

// What an operator does about calls that hang: give more of them a slot.
func TestAReloadNeedsNoSlot(t *testing.T) {
	b := installed(t)
	fixture(t, b, "--drain-timeout=1s")
	configure(t, b, "max_concurrent_requests = 2\n")
	c := dial(t, b)
	for range 2 {
		dial(t, b).send(`{"jsonrpc":"2.0","id":1,"method":"hang"}`)
	}
	begun(t, b, 2)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep","params":{"ms":0}}`)
	b.Write(t, configFile, "max_concurrent_requests = 3\n")
	b.Systemctl(t, "reload", serviceUnit)
	require.Contains(t, c.line(), "slept")
}

// watch reads the daemon's events. The channel gets what ends the stream.
func watch(t *testing.T, b *box.Box) <-chan string {
	t.Helper()
	c := dial(t, b)
	require.NoError(t, c.SetDeadline(time.Time{}))
	c.send(`{"jsonrpc":"2.0","id":1,"method":"daemon.monitor.stream"}`)
	first := c.line()
	require.Contains(t, first, `"subscription":1`)
	ended := make(chan string, 1)
	go func() {
		for {
			line, err := c.lines.ReadString('\n')
			if err != nil || !strings.Contains(line, `"subscription":1`) {
				ended <- fmt.Sprintf("%s %v", line, err)
				return
			}
		}
	}()
	return ended
}
