package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/rpc"
)

const patience = 20 * time.Second

// process is Run in this process, with a service manager that listens.
type process struct {
	path   string
	log    *logBuffer
	notify *net.UnixConn
	ended  chan error
	cancel context.CancelFunc
}

func runDaemon(t *testing.T, cfg Config) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "daemon") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &process{path: filepath.Join(dir, "s"), log: new(logBuffer), ended: make(chan error, 1)}
	p.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.notify.Close() })
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	if cfg.Socket == "" {
		cfg.Socket = p.path
	}
	cfg.Logger = NewLogger(p.log, logrus.DebugLevel)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	t.Cleanup(cancel)
	go func() { p.ended <- Run(ctx, cfg) }()
	return p
}

// told returns the next datagram to the service manager.
func (p *process) told(t *testing.T) string {
	t.Helper()
	require.NoError(t, p.notify.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 4096)
	n, err := p.notify.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

func (p *process) dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("unix", p.path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{t, conn, bufio.NewReader(conn)}
}

func TestADaemonServesTheSocketThatItBoundAndRemovesIt(t *testing.T) {
	p := runDaemon(t, Config{Mode: 0o600, Version: "1.2.3"})
	require.Equal(t, "READY=1\nSTATUS=connections 0, in flight 0, total 0", p.told(t))
	info, err := os.Lstat(p.path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, info.Mode())

	c := p.dial(t)
	var health struct{ PID int }
	require.NoError(t, json.Unmarshal(c.call("daemon.health", "").Result, &health))
	require.Equal(t, os.Getpid(), health.PID)
	require.Contains(t, string(c.call("daemon.config", "").Result), `"inherited":false,"drain_timeout_seconds":0,"idle_exit_seconds":0,`)

	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	require.NoError(t, <-p.ended)
	c.eof()
	for told := p.told(t); !strings.HasPrefix(told, "STOPPING=1\nSTATUS=draining "); told = p.told(t) {
		require.Regexp(t, "^(STATUS=connections |RELOADING=1\n|READY=1\n)", told)
	}
	_, err = os.Lstat(p.path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Contains(t, p.log.String(), `msg=stopped`)
}

func TestTheSocketIsThereAgainAfterARestart(t *testing.T) {
	for range 3 {
		p := runDaemon(t, Config{})
		p.told(t)
		p.dial(t).call("rpc.ping", "")
		p.cancel()
		require.NoError(t, <-p.ended)
	}
}

func TestAStartThatFailsIsToldToTheServiceManager(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(occupied, nil, 0o600))
	for name, test := range map[string]struct {
		cfg    Config
		kind   error
		status string
	}{
		"limits":     {Config{Limits: rpc.Limits{MaxBatch: -1}}, config.ErrInvalid, "STATUS=rpc: MaxBatch is -1"},
		"idle exit":  {Config{IdleExit: time.Second}, config.ErrInvalid, "STATUS=idle-exit is 1s, expected at least 5s"},
		"drain":      {Config{DrainTimeout: -1}, config.ErrInvalid, "STATUS=drain-timeout is -1ns"},
		"a path":     {Config{Socket: "relative"}, activation.ErrConfig, `STATUS=the socket path "relative"`},
		"its parent": {Config{Socket: "/proc/none/s"}, activation.ErrCannotCreate, "ERRNO=2\nSTATUS="},
		"its place":  {Config{Socket: occupied}, activation.ErrCannotCreate, "STATUS="},
	} {
		t.Run(name, func(t *testing.T) {
			p := runDaemon(t, test.cfg)
			err := <-p.ended
			require.ErrorIs(t, err, test.kind)
			told := p.told(t)
			require.True(t, strings.HasPrefix(told, test.status), told)
			require.NotContains(t, told, "READY")
		})
	}
}

func TestASecondDaemonLeavesTheFirstAlone(t *testing.T) {
	p := runDaemon(t, Config{})
	p.told(t)
	second := runDaemon(t, Config{Socket: p.path})
	require.ErrorIs(t, <-second.ended, activation.ErrAlreadyRunning)
	require.Nil(t, p.dial(t).call("rpc.ping", "").Error)
	p.cancel()
	require.NoError(t, <-p.ended)
}

func TestWhatTheInheritedSocketsMakeVoidIsSaid(t *testing.T) {
	inherited := []*activation.Socket{{Name: activation.NameRPC, Path: "/run/x/x.sock", Inherited: true}}
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing was asked for": {Config{}, ""},
		"the same path":         {Config{Socket: "/run/x/x.sock"}, ""},
		"another path":          {Config{Socket: "/run/y.sock"}, "not the one asked for"},
		"a mode":                {Config{Mode: 0o666}, "SocketMode="},
		"a group":               {Config{Group: "adm"}, "SocketGroup="},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(logBuffer)
			test.cfg.Logger = NewLogger(log, logrus.WarnLevel)
			warnOfUnusedSettings(test.cfg, inherited)
			if test.want == "" {
				require.Empty(t, log.String())
			} else {
				require.Contains(t, log.String(), test.want)
			}
		})
	}
}

func TestTheReasonOfTheSystemIsFoundInAnError(t *testing.T) {
	require.Equal(t, syscall.EACCES, errnoOf(&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}))
	require.Zero(t, errnoOf(errors.New("no reason")))
}

func TestLinesForTheJournalHaveTheirPriority(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	write := func(stream string) string {
		t.Setenv("JOURNAL_STREAM", stream)
		require.NoError(t, file.Truncate(0))
		_, err := file.Seek(0, 0)
		require.NoError(t, err)
		log := NewLogger(file, logrus.DebugLevel)
		log.Debug("a")
		log.WithField("method", "x\n<0>y").Info("b c")
		log.Warn("d")
		log.Error("e")
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, "<7>msg=a\n<6>msg=\"b c\" method=\"x\\n<0>y\"\n<4>msg=d\n<3>msg=e\n", write(fmtStream(stat.Dev, stat.Ino)))
	for _, other := range []string{"", "1:2", fmtStream(stat.Dev, stat.Ino) + "0"} {
		require.Regexp(t, `^time="[^"]*" level=debug msg=a\n`, write(other))
	}
	require.False(t, IsJournal(new(logBuffer)))
}

func fmtStream(dev, ino uint64) string { return fmt.Sprintf("%d:%d", dev, ino) }

// TestACrowdHasSpareThreads: the daemon asks for them.
func TestACrowdHasSpareThreads(t *testing.T) {
	l, err := newLifecycle(Config{Logger: logrus.New()},
		[]*activation.Socket{{Name: activation.NameRPC, Path: "/run/x/x.sock", Inherited: true}})
	require.NoError(t, err)
	defer l.server.Close()
	require.True(t, l.server.SpareThreads)
}
