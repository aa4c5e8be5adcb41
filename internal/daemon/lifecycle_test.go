package daemon

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/rpc"
)

// Time in these tests is that of synctest: it moves on only while everybody
// waits.

func TestTheServiceManagerHearsWhatHappensAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: time.Minute}, sleeper(2700*time.Millisecond))
		synctest.Wait()
		require.Equal(t, []string{"READY connections 0, in flight 0, total 0"}, f.manager.take())

		time.Sleep(10*time.Second + 500*time.Millisecond) // between two looks
		require.Empty(t, f.manager.take(), "nothing has changed")

		c := f.dial(f.listener)
		for range 100 {
			c.call("rpc.ping", "")
		}
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		synctest.Wait()
		require.Empty(t, f.manager.take(), "not at once")
		time.Sleep(time.Second)
		require.Equal(t, []string{"STATUS connections 1, in flight 1, total 101"}, f.manager.take())
		c.reply()
		time.Sleep(time.Second)
		require.Equal(t, []string{"STATUS connections 1, in flight 0, total 101"}, f.manager.take())

		f.terminate <- syscall.SIGTERM
		require.NoError(t, <-f.ended)
		require.Equal(t, []string{"STOPPING draining 0"}, f.manager.take())
	})
}

func TestASignalLetsRunningCallsEnd(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(19*time.Second))
			c := f.dial(f.listener)
			c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
			synctest.Wait()
			f.manager.take()
			f.terminate <- sig
			synctest.Wait()
			require.Equal(t, []string{"STOPPING draining 1"}, f.manager.take())
			refused := c.call("rpc.echo", "")
			require.Equal(t, rpc.CodeShuttingDown, refused.Error.Code)
			require.Equal(t, "no", refused.Error.Data.Executed)
			require.Contains(t, string(c.call("daemon.health", "").Result), `"shutting_down":true`)
			require.JSONEq(t, `"slept"`, string(c.reply().Result))
			c.eof()
			require.NoError(t, <-f.ended)
		})
	}
}

func TestTheEndOfTheContextIsAStopToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(time.Second))
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		synctest.Wait()
		f.cancel()
		require.JSONEq(t, `"slept"`, string(c.reply().Result))
		require.NoError(t, <-f.ended)
	})
}

func TestTheDrainTimeoutCutsOffAndIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(time.Minute))
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		synctest.Wait()
		begun := time.Now()
		f.terminate <- syscall.SIGTERM
		r := c.reply()
		require.Equal(t, rpc.CodeShuttingDown, r.Error.Code)
		require.Equal(t, "unknown", r.Error.Data.Executed)
		require.NoError(t, <-f.ended)
		require.Equal(t, 20*time.Second, time.Since(begun))
		require.Contains(t, f.log.String(), "the drain timeout has cut off what still ran")
		time.Sleep(time.Minute) // the handler does not heed its context
	})
}

func TestASecondSignalStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(time.Minute))
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		synctest.Wait()
		begun := time.Now()
		f.terminate <- syscall.SIGTERM
		time.Sleep(3 * time.Second)
		f.terminate <- syscall.SIGINT
		require.NoError(t, <-f.ended)
		require.Less(t, time.Since(begun), 4*time.Second)
		time.Sleep(time.Minute)
	})
}

func TestAHangupDoesNotEndTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(10*time.Second))
		f.hangup <- syscall.SIGHUP
		synctest.Wait()
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		synctest.Wait()
		f.terminate <- syscall.SIGTERM
		synctest.Wait()
		f.hangup <- syscall.SIGHUP
		require.JSONEq(t, `"slept"`, string(c.reply().Result))
		require.NoError(t, <-f.ended)
		require.Equal(t, 1, strings.Count(f.log.String(), "SIGHUP ignored: the daemon stops"))
	})
}

func TestShutdownByACallIsGracefulOrAtOnce(t *testing.T) {
	for params, took := range map[string]time.Duration{`{}`: 10 * time.Second, `{"graceful":false}`: 0} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(10*time.Second))
			slow, c := f.dial(f.listener), f.dial(f.admin)
			slow.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
			synctest.Wait()
			begun := time.Now()
			require.JSONEq(t, `{"shutting_down":true}`, string(c.call("daemon.shutdown", params).Result))
			c.eof()
			if took == 0 {
				require.Equal(t, rpc.CodeShuttingDown, slow.reply().Error.Code)
			} else {
				require.JSONEq(t, `"slept"`, string(slow.reply().Result))
			}
			require.NoError(t, <-f.ended)
			// rpc looks after busy readers every millisecond.
			require.InDelta(t, took.Seconds(), time.Since(begun).Seconds(), 0.01)
			require.NotContains(t, f.log.String(), "the drain timeout has")
			time.Sleep(time.Minute)
		})
	}
}

func TestAStopAtOnceCutsADrainShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(time.Minute))
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		synctest.Wait()
		begun := time.Now()
		for range 10 { // as many calls as there may be
			f.l.stop(true)
		}
		f.l.stop(false)
		require.Equal(t, rpc.CodeShuttingDown, c.reply().Error.Code)
		require.NoError(t, <-f.ended)
		require.Less(t, time.Since(begun), time.Second)
		time.Sleep(time.Minute)
	})
}

func TestBothSocketsAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{})
		for _, l := range []*memory{f.listener, f.admin} {
			result := string(f.dial(l).call("daemon.config", "").Result)
			require.Contains(t, result, `"socket":"/run/x/x.sock","admin_socket":"/run/x/admin.sock","inherited":true`)
		}
		f.terminate <- syscall.SIGTERM
		require.NoError(t, <-f.ended)
	})
}

func TestTheDaemonExitsOnceItHasBeenIdleForLongEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{IdleExit: time.Minute})
		synctest.Wait()
		f.manager.take()
		begun := time.Now()
		require.NoError(t, <-f.ended)
		require.Equal(t, time.Minute, time.Since(begun))
		require.Equal(t, []string{"STOPPING idle for 1m0s"}, f.manager.take())
	})
}

func TestAConnectionPutsTheIdleExitOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{IdleExit: time.Minute})
		// One that comes and goes between two looks counts as well.
		for range 5 {
			time.Sleep(59 * time.Second)
			require.NoError(t, f.dial(f.listener).conn.Close())
		}
		// One that says nothing is a client.
		time.Sleep(30 * time.Second)
		c := f.dial(f.listener)
		time.Sleep(4 * time.Minute)
		require.JSONEq(t, `"pong"`, string(c.call("rpc.ping", "").Result))
		time.Sleep(90 * time.Second)
		require.NoError(t, c.conn.Close())
		begun := time.Now()
		require.NoError(t, <-f.ended)
		require.Equal(t, time.Minute, time.Since(begun))
	})
}

func TestOnlyAnInheritedSocketHasAnIdleExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, inherited := range []bool{true, false} {
			l, err := newLifecycle(Config{IdleExit: time.Minute, Logger: logrus.New()},
				[]*activation.Socket{{Name: activation.NameRPC, Path: "/run/x/x.sock", Inherited: inherited}})
			require.NoError(t, err)
			require.Equal(t, inherited, l.idleTimer() != nil)
			require.NoError(t, l.server.Close())
		}
	})
}

func TestTheDaemonEndsWhenASocketCanNotBeServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{DrainTimeout: 20 * time.Second}, sleeper(time.Second))
		c := f.dial(f.listener)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		synctest.Wait()
		f.admin.change(func() { f.admin.broken = syscall.EINVAL })
		require.JSONEq(t, `"slept"`, string(c.reply().Result))
		require.ErrorIs(t, <-f.ended, syscall.EINVAL)
	})
}

func TestAServiceManagerThatCanNotBeToldEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{})
		synctest.Wait()
		f.manager.mu.Lock()
		f.manager.fail = errors.New("gone")
		f.manager.mu.Unlock()
		c := f.dial(f.listener)
		for range 10 {
			c.call("rpc.ping", "")
			time.Sleep(time.Second)
		}
		require.Equal(t, 1, strings.Count(f.log.String(), "the service manager was not told"), "once is enough")
		f.terminate <- syscall.SIGTERM
		require.NoError(t, <-f.ended)
	})
}
