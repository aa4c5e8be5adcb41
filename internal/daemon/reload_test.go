package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/rpc"
)

// saying is a file with one method that says its text.
func saying(text string) string {
	return "[methods.say]\nexec = [\"/bin/echo\", \"" + text + "\"]\nallow = [\"everyone\"]\n"
}

// until takes what the service manager is told until it is told this.
func (m *manager) until(t *testing.T, prefix string) (told string) {
	t.Helper()
	require.Eventually(t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, text := range m.told {
			if strings.HasPrefix(text, prefix) {
				told, m.told = text, m.told[i+1:]
				return true
			}
		}
		return false
	}, patience, time.Millisecond, "was not told %q", prefix)
	return told
}

func (f *fixture) stop() {
	f.t.Helper()
	f.terminate <- syscall.SIGTERM
	require.NoError(f.t, <-f.ended)
}

func TestASignalReloadsTheMethods(t *testing.T) {
	dir := folderWith(t, saying("old"))
	f := start(t, Config{MethodFolders: []string{dir}})
	f.manager.until(t, "READY")
	require.Equal(t, "old", f.call(f.listener, "say"))
	write(t, dir, saying("new"))
	f.hangup <- syscall.SIGHUP
	f.manager.until(t, "RELOADING")
	require.NotContains(t, f.manager.until(t, "READY"), "failed")
	require.Equal(t, "new", f.call(f.listener, "say"))
	f.stop()
}

func TestAReloadOfABrokenFileChangesNothingAndSaysWhere(t *testing.T) {
	dir := folderWith(t, saying("old"))
	f := start(t, Config{MethodFolders: []string{dir}})
	f.manager.until(t, "READY")
	write(t, dir, saying("new")+"typo = 1\n")
	at := dir + "/m.toml:4:1: "

	r := f.dial(f.admin).call("daemon.reload", "")
	require.Equal(t, methods.CodeReloadFailed, r.Error.Code)
	require.Equal(t, "no", r.Error.Data.Executed)
	require.Len(t, r.Error.Data.Findings, 1)
	require.Contains(t, r.Error.Data.Findings[0], at)
	require.Contains(t, f.manager.until(t, "READY"), "; the last reload failed and changed nothing: "+at)
	require.Contains(t, f.log.String(), at)
	require.Equal(t, "old", f.call(f.listener, "say"))

	write(t, dir, saying("new"))
	result := f.dial(f.admin).call("daemon.reload", "").Result
	require.JSONEq(t, fmt.Sprintf(`{"files":[%q],"methods":1,"warnings":[]}`, dir+"/m.toml"), string(result))
	require.NotContains(t, f.manager.until(t, "READY"), "failed")
	require.Equal(t, "new", f.call(f.listener, "say"))
	f.stop()
}

// A stranger has no business with reloads.
func TestAReloadIsForRootAndTheDaemonsUser(t *testing.T) {
	f := start(t, Config{})
	require.ErrorIs(t, f.l.authorize(&rpc.Peer{UID: 4711}, &rpc.Method{Name: "daemon.reload"}), rpc.ErrHidden)
	f.stop()
}

func TestAReloadReplacesLimitsAndTimeouts(t *testing.T) {
	cfg := Config{DrainTimeout: time.Second, Version: "1"}
	cfg.Reread = func() (Config, error) {
		next := cfg
		next.DrainTimeout, next.Limits.MaxBatch = 2*time.Second, 7
		return next, nil
	}
	f := start(t, cfg)
	c := f.dial(f.admin)
	require.NotNil(t, c.call("daemon.reload", "").Result)
	require.Equal(t, 7, f.l.server.CurrentLimits().MaxBatch)
	shown := string(c.call("daemon.config", "").Result)
	require.Contains(t, shown, `"drain_timeout_seconds":2,`)
	require.Contains(t, shown, `"max_batch":7,`)
	f.stop()
}

func TestAConfigurationThatCanNotBeUsedChangesNothing(t *testing.T) {
	for _, test := range []struct {
		next Config
		err  error
		want string
	}{
		{err: config.Errorf("x.toml:1:2: no"), want: "x.toml:1:2: no"},
		{next: Config{DrainTimeout: -1}, want: "drain-timeout is -1ns"},
		{next: Config{Limits: rpc.Limits{MaxBatch: -1}}, want: "MaxBatch is -1"},
	} {
		dir := folderWith(t, saying("old"))
		f := start(t, Config{MethodFolders: []string{dir}, Reread: func() (Config, error) { return test.next, test.err }})
		r := f.dial(f.admin).call("daemon.reload", "")
		require.Contains(t, r.Error.Data.Findings[0], test.want)
		require.Equal(t, "old", f.call(f.listener, "say"))
		f.stop()
	}
}

// When calls that hang have taken all slots, and others wait for one, an operator
// may want to give more.
func TestAReloadNeedsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{DrainTimeout: time.Minute, Limits: rpc.Limits{MaxConcurrentRequests: 1}}
		cfg.Reread = func() (Config, error) {
			next := cfg
			next.Limits.MaxConcurrentRequests = 2
			return next, nil
		}
		f := start(t, cfg, sleeper(10*time.Second))
		busy := f.dial(f.listener)
		busy.send(`{"jsonrpc":"2.0","id":1,"method":"sleep"}`)
		busy.send(`{"jsonrpc":"2.0","id":2,"method":"sleep"}`)
		synctest.Wait()
		require.Equal(t, 1, f.l.server.Stats().Queued)
		begun := time.Now()
		require.NotNil(t, f.dial(f.admin).call("daemon.reload", "").Result)
		require.Zero(t, time.Since(begun))
		require.Equal(t, 2, f.l.server.Stats().Running)
		f.stop()
	})
}

// What is asked for while files are read may be about files that were read
// before they changed.
func TestWhoAsksDuringAReloadGetsOneMoreAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		runs := 0
		cfg := Config{DrainTimeout: time.Minute}
		cfg.Reread = func() (Config, error) {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			runs++
			return cfg, nil
		}
		f := start(t, cfg)
		first := f.dial(f.admin)
		first.send(`{"jsonrpc":"2.0","id":1,"method":"daemon.reload"}`)
		synctest.Wait()
		var others []*client
		for range 5 {
			c := f.dial(f.admin)
			c.send(`{"jsonrpc":"2.0","id":1,"method":"daemon.reload"}`)
			others = append(others, c)
		}
		f.hangup <- syscall.SIGHUP
		require.NotNil(t, first.reply().Result)
		for _, c := range others {
			require.NotNil(t, c.reply().Result)
		}
		mu.Lock()
		require.Equal(t, 2, runs)
		mu.Unlock()
		f.stop()
	})
}

func TestAStopDoesNotWaitForAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{DrainTimeout: 20 * time.Second}
		cfg.Reread = func() (Config, error) {
			time.Sleep(5 * time.Second)
			return cfg, nil
		}
		f := start(t, cfg)
		c := f.dial(f.admin)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"daemon.reload"}`)
		synctest.Wait()
		begun := time.Now()
		f.terminate <- syscall.SIGTERM
		refused := c.reply().Error
		require.Equal(t, rpc.CodeShuttingDown, refused.Code)
		require.Equal(t, "no", refused.Data.Executed)
		require.NoError(t, <-f.ended)
		require.Zero(t, time.Since(begun))
		require.NotContains(t, f.log.String(), "msg=reloaded")
		time.Sleep(time.Minute) // the files are still being read
	})
}

func TestAReloadDropsNoCallAndNoStream(t *testing.T) {
	const watching = `
[methods.watch]
exec = ["/bin/sh", "-c", "echo begun; sleep 0.2; echo going on; exit 0"]
stream = true
allow = ["everyone"]
`
	dir := folderWith(t, watching+saying("0"))
	f := start(t, Config{MethodFolders: []string{dir}, DrainTimeout: time.Minute})
	stream := f.dial(f.listener)
	stream.send(`{"jsonrpc":"2.0","id":"s","method":"watch"}`)
	require.Contains(t, stream.line(), "begun")

	// Callers see one generation or the other, and no gap between them.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	answers := make([]int, 3)
	for i := range answers {
		c := f.dial(f.listener)
		wg.Go(func() {
			for last := 0; ctx.Err() == nil; answers[i]++ {
				r := c.call("say", "")
				var text string
				n := 0
				if r.Error != nil || json.Unmarshal(r.Result, &text) != nil {
					t.Errorf("a call was not answered: %+v", r)
					return
				}
				if _, err := fmt.Sscan(text, &n); err != nil || n < last {
					t.Errorf("answered %q after %d", text, last)
					return
				}
				last = n
			}
		})
	}
	operator := f.dial(f.admin)
	for n := 1; n <= 30; n++ {
		write(t, dir, watching+saying(fmt.Sprint(n)))
		require.NotNil(t, operator.call("daemon.reload", "").Result)
	}
	cancel()
	wg.Wait()
	for _, n := range answers {
		require.Greater(t, n, 1)
	}
	require.Contains(t, stream.line(), "going on")
	require.Contains(t, stream.line(), `"lines":2`)
	f.stop()
}

// A method that was closed must not be open for the moment of a swap.
func TestACallIsJudgedByTheRulesOfTheMethodThatItFound(t *testing.T) {
	dir := folderWith(t, saying("for all"))
	f := start(t, Config{MethodFolders: []string{dir}})
	stranger := &rpc.Peer{UID: 4711}
	before := f.l.offers.Load().current.registry.Lookup("say")
	write(t, dir, strings.Replace(saying("secret"), "everyone", "uid:1", 1))
	require.NotNil(t, f.dial(f.admin).call("daemon.reload", "").Result)
	after := f.l.offers.Load().current.registry.Lookup("say")
	require.NoError(t, f.l.authorize(stranger, before))
	require.ErrorIs(t, f.l.authorize(stranger, after), rpc.ErrHidden)
	f.stop()
}
