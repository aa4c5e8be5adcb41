package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/config"
)

// serve runs the command to its end.
func serve(ctx context.Context, stderr io.Writer, args ...string) error {
	cmd := newServeCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetErr(stderr)
	return cmd.ExecuteContext(ctx)
}

func TestServeRefusesFlagsThatMeanNothing(t *testing.T) {
	for _, test := range []struct {
		arg  string
		want string
	}{
		{"--mode=0999", `--mode is "0999", expected permission bits in octal`},
		{"--mode=4660", "--mode"},
		{"--mode=0", "--mode"},
		{"--mode=rw", "--mode"},
		{"--socket=relative", `--socket is "relative", the socket path "relative" is relative, expected an absolute path`},
		{"--socket=", `--socket is "", no socket path, expected an absolute path`},
		{"--log-level=loud", `--log-level is "loud", expected one of: error, warning, info, debug`},
		{"--log-level=panic", "--log-level"},
		{"--idle-exit=4s", "at least 5s"},
		{"--idle-exit=-1s", "--idle-exit is -1s"},
		{"--drain-timeout=-1s", "--drain-timeout is -1s"},
		{"--max-connections=0", "--max-connections is 0, expected at least 1"},
		{"--max-batch=-1", "--max-batch is -1"},
		{"--queue-timeout=0", "--queue-timeout is 0s"},
		{"--max-batch=many", `--max-batch is "many", expected a whole number`},
		{"--queue-timeout=10", `--queue-timeout is "10", expected a duration with its unit`},
		{"--max-message-bytes=10", "--max-message-bytes is 10, expected at least 1024"},
	} {
		err := serve(t.Context(), io.Discard, test.arg)
		require.ErrorContains(t, err, test.want, test.arg)
		require.Equal(t, 64, ExitCode(err), test.arg)
	}
}

func TestServeHasAFlagForEachSetting(t *testing.T) {
	flags := newServeCommand().Flags()
	for _, s := range config.Settings {
		require.NotNil(t, flags.Lookup(s.Flag()), s.Name)
		if s.Name != "socket" && s.Name != "group" {
			require.NotContains(t, []string{"", "0", "0s"}, flags.Lookup(s.Flag()).DefValue, "help shows the default")
		}
	}
}

func TestServeTakesItsSettingsFromEverywhere(t *testing.T) {
	dir, err := os.MkdirTemp("", "serve") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	t.Setenv(config.SocketVariable, path)
	file := filepath.Join(dir, "marianned.toml")
	require.NoError(t, os.WriteFile(file, []byte("max_batch = 11\nmax_connections = 8\n"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, io.Discard, "--config", file, "--mode=600", "--max-connections=7", "--queue-timeout=2s", "--drain-timeout=3s", "--log-level=debug")
	}()
	var conn net.Conn
	for deadline := time.Now().Add(20 * time.Second); conn == nil; runtime.Gosched() {
		if conn, err = net.Dial("unix", path); err != nil {
			require.True(t, time.Now().Before(deadline), "%v", err)
		}
	}
	defer conn.Close()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, info.Mode())
	_, err = io.WriteString(conn, `{"jsonrpc":"2.0","id":1,"method":"daemon.config"}`+"\n")
	require.NoError(t, err)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, answer, `"drain_timeout_seconds":3,`)
	require.Contains(t, answer, `"max_connections":7,`)
	require.Contains(t, answer, `"queue_timeout_seconds":2,`)
	require.Contains(t, answer, `"socket":`+strconv.Quote(path))
	require.Contains(t, answer, `{"name":"socket","value":`+strconv.Quote(path)+`,"origin":"$MARIANNED_SOCKET"}`)
	require.Contains(t, answer, `{"name":"queue_timeout","value":"2s","origin":"--queue-timeout"}`)
	require.Contains(t, answer, `{"name":"max_batch","value":11,"origin":`+strconv.Quote(file+":1:1")+`}`)
	require.Contains(t, answer, `"files":[`+strconv.Quote(file)+`]`)
	cancel()
	require.NoError(t, <-ended)
}

func TestServeSaysWhatIsWrongInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my.toml")
	require.NoError(t, os.WriteFile(path, []byte("idle_exit = \"1s\"\nmax_bach = 5\n"), 0o600))
	var stderr bytes.Buffer
	err := serve(t.Context(), &stderr, "--config", path)
	require.Equal(t, 78, ExitCode(err))
	require.ErrorContains(t, err, path+":1:1: idle_exit is 1s, expected at least 5s")
	require.ErrorContains(t, err, path+`:2:1: unknown key "max_bach"; did you mean "max_batch"?`)
}

func TestServeSaysThatAVariableIsWrong(t *testing.T) {
	t.Setenv(config.SocketVariable, "relative")
	var stderr bytes.Buffer
	err := serve(t.Context(), &stderr)
	require.Equal(t, 78, ExitCode(err))
	require.ErrorContains(t, err, `$MARIANNED_SOCKET is "relative"`)
	require.Empty(t, stderr.String(), "whoever runs the command prints the error, once")
}

func TestAWrongFlagIsToldToTheServiceManager(t *testing.T) {
	dir, err := os.MkdirTemp("", "serve") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "n")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	require.Error(t, serve(t.Context(), io.Discard, "--max-batch=0"))
	require.NoError(t, manager.SetReadDeadline(time.Now().Add(20*time.Second)))
	told := make([]byte, 4096)
	n, err := manager.Read(told)
	require.NoError(t, err)
	require.Equal(t, "STATUS=--max-batch is 0, expected at least 1: nothing is unbounded", string(told[:n]))
}

func TestAFailedStartHasItsPriorityInTheJournal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	t.Setenv("JOURNAL_STREAM", strconv.FormatUint(stat.Dev, 10)+":"+strconv.FormatUint(stat.Ino, 10))
	t.Setenv(config.SocketVariable, "two")
	t.Setenv("MARIANNED_MODE", "mistakes")
	for arg, code := range map[string]int{"--max-batch=1": 78, "--max-batch=0": 64} {
		err = serve(t.Context(), file, arg)
		var reported *reportedError
		require.True(t, errors.As(err, &reported))
		require.Regexp(t, `^<3>[^\n]* expected [^\n]*\n$`, reported.report)
		require.Equal(t, code, ExitCode(err))
	}
}
