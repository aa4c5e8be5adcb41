package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/methods"
)

// configured returns the Config that a file makes, and what writes it anew.
func configured(t *testing.T, text string) (cfg Config, write func(text string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "marianned.toml")
	write = func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	var load func() (Config, error)
	load = func() (Config, error) {
		settings, err := config.Load(config.Options{File: path, Environment: []string{"MARIANNED_MAX_BACH=1"}, Trust: &conffile.Trust{}})
		if err != nil {
			return Config{}, err
		}
		cfg := ConfigOf(settings)
		cfg.Reread = load
		return cfg, nil
	}
	write(text)
	cfg, err := load()
	require.NoError(t, err)
	return cfg, write
}

func TestOnlyWhatIsSetCanBeInVain(t *testing.T) {
	cfg, _ := configured(t, "max_batch = 5\ndrain_timeout = \"1s\"\n")
	require.Empty(t, cfg.Socket)
	require.Zero(t, cfg.Mode)
	require.Equal(t, 5, cfg.Limits.MaxBatch)
	require.Equal(t, time.Second, cfg.DrainTimeout)
	require.Equal(t, config.DefaultIdleExit, cfg.IdleExit)
	cfg, _ = configured(t, "socket = \"/a\"\nmode = \"0600\"\ngroup = \"adm\"\n")
	require.Equal(t, "/a", cfg.Socket)
	require.Equal(t, os.FileMode(0o600), cfg.Mode)
	require.Equal(t, "adm", cfg.Group)
}

func TestAHangupReloadsTheSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, write := configured(t, "idle_exit = \"0s\"\nmode = \"0600\"\n")
		f := start(t, cfg)
		synctest.Wait()
		c := f.dial(f.listener)
		write("idle_exit = \"10s\"\nmode = \"0666\"\n\nmax_batch = 7\nlog_level = \"error\"\ndrain_timeout = \"3s\"\n")
		f.hangup <- syscall.SIGHUP
		synctest.Wait()

		require.Equal(t, 7, f.l.server.CurrentLimits().MaxBatch)
		require.Equal(t, logrus.ErrorLevel, f.l.log.GetLevel())
		answer := string(c.call("daemon.config", "").Result)
		require.Contains(t, answer, `"drain_timeout_seconds":3,"idle_exit_seconds":10,`)
		require.Contains(t, answer, `"max_batch":7,`)
		require.Regexp(t, `{"name":"max_batch","value":7,"origin":"[^"]*marianned.toml:4:1"}`, answer)
		require.Regexp(t, `{"name":"mode","value":"0600","origin":"[^"]*marianned.toml:2:1"}`, answer)

		require.NoError(t, c.conn.Close())
		time.Sleep(11 * time.Second)
		require.NoError(t, <-f.ended, "it is idle, by what it was told at the reload")
	})
}

func TestAReloadSaysWhatHasChanged(t *testing.T) {
	cfg, write := configured(t, "max_batch = 5\n")
	f := start(t, cfg)
	write("max_batch = 6\nmode = \"0666\"\n")
	var answer struct{ Files, Warnings []string }
	require.NoError(t, json.Unmarshal(f.dial(f.listener).call("daemon.reload", "").Result, &answer))
	require.Equal(t, cfg.Settings.Files, answer.Files)
	require.Equal(t, []string{
		"warning: $MARIANNED_MAX_BACH is no setting; did you mean $MARIANNED_MAX_BATCH?",
		cfg.Settings.Files[0] + `:2:1: warning: needs a restart: mode: "0660" -> "0666"`,
	}, answer.Warnings)
	log := f.log.String()
	require.Regexp(t, `level=info msg="changed: max_batch: 5 -> 6" origin=".*marianned.toml:1:1"`, log)
	require.Regexp(t, `level=warning msg="needs a restart: mode: \\"0660\\" -> \\"0666\\"" origin=".*marianned.toml:2:1"`, log)
	require.Equal(t, 2, strings.Count(log, `level=warning msg="$MARIANNED_MAX_BACH is no setting`), "at the start, and again")
	f.stop()
}

func TestAReloadOfABadFileChangesNothing(t *testing.T) {
	cfg, write := configured(t, "max_batch = 5\n")
	f := start(t, cfg)
	f.manager.until(t, "READY")
	c := f.dial(f.listener)
	before := string(c.call("daemon.config", "").Result)
	write("max_batch = 6\nlog_level = \"loud\"\n")
	require.Equal(t, methods.CodeReloadFailed, c.call("daemon.reload", "").Error.Code)
	require.Equal(t, before, string(c.call("daemon.config", "").Result))
	require.Equal(t, 5, f.l.server.CurrentLimits().MaxBatch)
	require.Contains(t, f.manager.until(t, "READY connections 1"), cfg.Settings.Files[0]+":2:1: log_level is")
	require.Regexp(t, `level=error msg="reload failed: nothing has changed" finding=".*marianned.toml:2:1: log_level is`, f.log.String())
	f.stop()
}

func TestADaemonThatBoundItsSocketStaysAfterAReload(t *testing.T) {
	cfg, write := configured(t, "max_batch = 5\n")
	p := runDaemon(t, cfg)
	p.told(t)
	write("max_batch = 6\nidle_exit = \"5s\"\n")
	c := p.dial(t)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "msg=reloaded") }, patience, time.Millisecond)
	require.Contains(t, string(c.call("daemon.config", "").Result), `"idle_exit_seconds":0,`)
	p.cancel()
	require.NoError(t, <-p.ended)
}
