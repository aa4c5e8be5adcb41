package daemon

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestTheServiceManagerHearsThatTheDaemonIsAliveTwiceInEachInterval(t *testing.T) {
	watched := func(l *lifecycle) { l.watchdogInterval = 30 * time.Second }
	synctest.Test(t, func(t *testing.T) {
		f := startAdjusted(t, Config{DrainTimeout: time.Minute, Limits: rpc.Limits{MaxConcurrentRequests: 1}}, watched, sleeper(100*time.Second))
		time.Sleep(14 * time.Second)
		synctest.Wait()
		f.manager.take()
		time.Sleep(time.Minute)
		require.Equal(t, []string{"WATCHDOG", "WATCHDOG", "WATCHDOG", "WATCHDOG"}, f.manager.take())

		// All slots taken, and then a drain, are no reason to be killed.
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		time.Sleep(20 * time.Second)
		require.Equal(t, []string{"WATCHDOG", "WATCHDOG"}, withoutStatus(f.manager.take()))
		f.terminate <- syscall.SIGTERM
		time.Sleep(30 * time.Second)
		require.Equal(t, []string{"STOPPING draining 1", "WATCHDOG", "WATCHDOG"}, f.manager.take())
		f.terminate <- syscall.SIGTERM
		require.NoError(t, <-f.ended)
		time.Sleep(time.Minute) // the handler heeds nothing
	})
}

func withoutStatus(told []string) []string {
	return slices.DeleteFunc(told, func(s string) bool { return strings.HasPrefix(s, "STATUS ") })
}

func TestAServerThatDoesNotAnswerIsNotSaidToBeAlive(t *testing.T) {
	var hang atomic.Bool
	watched := func(l *lifecycle) {
		l.watchdogInterval = 30 * time.Second
		authorize := l.server.Authorize
		l.server.Authorize = func(p *rpc.Peer, m *rpc.Method) error {
			for hang.Load() {
				time.Sleep(time.Second)
			}
			return authorize(p, m)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := startAdjusted(t, Config{DrainTimeout: time.Minute}, watched)
		time.Sleep(20 * time.Second)
		require.Contains(t, f.manager.take(), "WATCHDOG")
		hang.Store(true)
		time.Sleep(2 * time.Minute)
		require.Empty(t, f.manager.take())
		require.Contains(t, f.log.String(), "the server does not answer")
		hang.Store(false)
		time.Sleep(time.Minute)
		require.Contains(t, f.manager.take(), "WATCHDOG")
		f.terminate <- os.Interrupt
		require.NoError(t, <-f.ended)
	})
}

func TestADrainAsksForMoreTimeOnlyWhileItMakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: time.Minute}, sleeper(10*time.Second))
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		time.Sleep(5500 * time.Millisecond)
		c.send(`{"jsonrpc":"2.0","id":2,"method":"sleep"}`)
		time.Sleep(2 * time.Second)
		f.manager.take()
		f.terminate <- syscall.SIGTERM
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"STOPPING draining 2"}, f.manager.take())
		c.reply()
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, []string{"STATUS draining 1", "EXTEND 10s"}, f.manager.take())
		c.reply()
		require.NoError(t, <-f.ended)
		require.Empty(t, f.manager.take())
	})
}
