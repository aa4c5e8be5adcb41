package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/rpc"
)

func shown(err error) string {
	var b bytes.Buffer
	printError(&b, err)
	return b.String()
}

func TestAFailedCallSaysWhatTheDaemonAnsweredAndWhetherItRan(t *testing.T) {
	answer := func(code int, message, data string, executed rpc.Executed) error {
		e := rpc.Errorf(code, "%s", message)
		if data != "" {
			e.Data = json.RawMessage(data)
		}
		return &rpc.CallError{Method: "disk.usage", Executed: executed, Err: e}
	}
	for _, test := range []struct {
		name string
		err  error
		want string
		json string
		code int
	}{
		{"an error of the application", answer(-32000, "no such disk", "", rpc.ExecutedUnknown),
			"marianned: disk.usage: no such disk (code -32000)\nThe call may have been executed: look before you send it again.\n",
			`{"code":-32000,"message":"no such disk"}`, 1},
		{"a refusal", answer(-32001, "busy", `{"reason":"queue_timeout","limit":12345678901234567890}`, rpc.ExecutedNo),
			"marianned: disk.usage: busy (code -32001)\ndata: {\"reason\":\"queue_timeout\",\"limit\":12345678901234567890}\nThe call was not executed, and may be sent again.\n",
			`{"code":-32001,"message":"busy","data":{"reason":"queue_timeout","limit":12345678901234567890}}`, 1},
		{"too large a reply", answer(-32012, "too large", "", rpc.ExecutedYes),
			"marianned: disk.usage: too large (code -32012)\nThe call was executed.\n",
			`{"code":-32012,"message":"too large"}`, 1},
		{"not authorised", answer(-32006, "not for you", "", rpc.ExecutedNo),
			"marianned: disk.usage: not for you (code -32006)\nAsk whoever runs the daemon: it knows callers by their user and groups.\n",
			`{"code":-32006,"message":"not for you"}`, 77},
		{"an unknown method", answer(-32601, "not found", "", rpc.ExecutedNo),
			"marianned: disk.usage: not found (code -32601)\n`marianned methods` lists what there is.\n",
			`{"code":-32601,"message":"not found"}`, 1},
		{"text that steers a terminal", answer(-32000, "\x1b[31m\"red\"", "\"\u009b\"", rpc.ExecutedYes),
			"marianned: disk.usage: \\u001b[31m\"red\" (code -32000)\ndata: \"\\u009b\"\nThe call was executed.\n",
			`{"code":-32000,"message":"\u001b[31m\"red\"","data":"\u009b"}`, 1},
		{"no answer in time", &rpc.CallError{Method: "disk.usage", Executed: rpc.ExecutedUnknown, Err: context.DeadlineExceeded},
			"marianned: disk.usage: no answer within 30s (--timeout); the call may have been executed: look before you send it again\n", "", 1},
		{"Ctrl-C", &rpc.CallError{Method: "disk.usage", Executed: rpc.ExecutedNo, Err: context.Canceled},
			"marianned: disk.usage: interrupted; the call was not executed, and may be sent again\n", "", 1},
		{"a daemon that dies", &rpc.CallError{Method: "disk.usage", Executed: rpc.ExecutedUnknown, Err: io.EOF},
			"marianned: disk.usage: the daemon closed the connection without an answer; the call may have been executed: look before you send it again\n", "", 1},
		{"what the client refuses", &rpc.CallError{Method: "disk.usage", Executed: rpc.ExecutedNo, Err: errors.New("rpc: no")},
			"marianned: disk.usage: rpc: no; the call was not executed, and may be sent again\n", "", 1},
		{"a lost connection", errors.New("the connection broke"),
			"marianned: disk.usage: the connection broke; the call may have been executed: look before you send it again\n", "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := callError("disk.usage", 30*time.Second, test.err, false)
			require.Equal(t, test.code, ExitCode(err))
			require.Equal(t, test.want, shown(err))
			err = callError("disk.usage", 30*time.Second, test.err, true)
			require.Equal(t, test.code, ExitCode(err))
			if test.json != "" {
				require.Equal(t, test.json+"\n", shown(err))
			}
		})
	}
}

func TestWhoCannotConnectLearnsWhy(t *testing.T) {
	folder, err := os.MkdirTemp("", "cli")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })

	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	stale := filepath.Join(folder, "stale.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())

	for _, test := range []struct {
		name, path string
		err        error
		want       []string
	}{
		{"no socket", "/srv/x.sock", fs.ErrNotExist, []string{"cannot connect to /srv/x.sock: there is no socket; `marianned serve --socket /srv/x.sock`"}},
		{"no system's socket", config.SystemSocket, syscall.ENOENT, []string{"`systemctl start marianned.socket`", "`marianned units install`"}},
		{"no user's socket", "/run/user/1000/marianned/marianned.sock", syscall.ENOENT, []string{"`systemctl --user start marianned.socket`"}},
		{"a stale socket", stale, syscall.ECONNREFUSED, []string{"nobody listens"}},
		{"no socket but a file", file, syscall.ECONNREFUSED, []string{"it is a regular file, expected a socket"}},
		{"a folder that cannot be entered", filepath.Join(file, "x"), syscall.EACCES, []string{"permission denied for one of its folders"}},
		{"a full backlog", stale, syscall.EAGAIN, []string{"did not take the connection within 30s"}},
		{"no time left", stale, context.DeadlineExceeded, []string{"did not take the connection within 30s"}},
		{"Ctrl-C", stale, context.Canceled, []string{"interrupted; nothing was sent"}},
		{"a long path", "/" + filepath.Join(folder, "x"), syscall.EINVAL, []string{"at most 107 bytes"}},
		{"a part that is no folder", file + "/x", syscall.ENOTDIR, []string{"a part of the path is no folder"}},
		{"anything else", stale, errors.New("strange"), []string{"strange"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := connectError(test.path, 30*time.Second, test.err)
			require.Equal(t, 69, ExitCode(err))
			require.ErrorIs(t, err, test.err)
			for _, want := range test.want {
				require.Contains(t, shown(err), want)
			}
		})
	}
}

func TestWhoMayNotConnectLearnsWhichGroupMay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	require.NoError(t, os.WriteFile(path, nil, 0o600)) // its mode and group count
	found, next := permissionHint(path)
	require.Contains(t, found, "mode 0600")
	require.Contains(t, next, "only its owner may connect")

	if err := os.Chown(path, -1, 54321); err != nil {
		t.Skipf("only root can give a file to any group: %v", err)
	}
	require.NoError(t, os.Chmod(path, 0o660))
	found, next = permissionHint(path)
	require.Contains(t, found, "mode 0660 and group 54321")
	require.Contains(t, next, "usermod -aG 54321")
	require.Contains(t, next, "only from the next login on")
}
