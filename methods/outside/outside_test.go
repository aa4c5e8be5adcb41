package outside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func silent() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// listen is the service manager: it serves each connection as a process of its
// own would. The channel gets what Serve returned.
func listen(t *testing.T, uids []uint32, execute Executor) (socket string, ended <-chan error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "outside") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	errs := make(chan error, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			errs <- Serve(t.Context(), conn, uids, execute, silent())
		}
	}()
	return socket, errs
}

func own() []uint32 { return []uint32{uint32(os.Geteuid())} }

func newCall(emit func(string, any) error) *backend.Call {
	return &backend.Call{
		Method: "m", Params: rpc.RawMessage(`{"a":[1,"ü"]}`), RequestID: "boot-1.2", Emit: emit, Log: logrus.NewEntry(silent()),
		Peer: &rpc.Peer{UID: 1000, GID: 100, Groups: []uint32{4, 27}, PID: 7, Socket: "admin", Unit: "a.service", UserUnit: "b.service", UnitUnknown: true},
	}
}

func TestTheOtherSideHearsAllOfACallAndWhoseItIs(t *testing.T) {
	heard := make(chan Request, 1)
	socket, ended := listen(t, own(), func(_ context.Context, r Request, emit func(string, any) error) (rpc.RawMessage, error) {
		require.Nil(t, emit)
		heard <- r
		return rpc.RawMessage(`{"b":2}`), nil
	})
	call := newCall(nil)
	result, err := NewRunner(socket, false).Call(t.Context(), call)
	require.NoError(t, err)
	require.Equal(t, `{"b":2}`, string(result))
	request := <-heard
	require.Equal(t, call.Method, request.Method)
	require.Equal(t, call.RequestID, request.RequestID)
	require.JSONEq(t, string(call.Params), string(request.Params))
	require.Equal(t, call.Peer, request.Peer.RPC())
	require.NoError(t, <-ended, "one connection is for one call")
}

func TestAStreamOfTheOtherSideIsPassedOn(t *testing.T) {
	socket, ended := listen(t, own(), func(_ context.Context, _ Request, emit func(string, any) error) (rpc.RawMessage, error) {
		for i := range 3 {
			if err := emit("line", map[string]any{"n": i}); err != nil {
				return nil, err
			}
		}
		return rpc.RawMessage(`"end"`), nil
	})
	var events []string
	result, err := NewRunner(socket, true).Call(t.Context(), newCall(func(event string, params any) error {
		events = append(events, fmt.Sprintf("%s %s", event, params))
		return nil
	}))
	require.NoError(t, err)
	require.Equal(t, `"end"`, string(result))
	require.Equal(t, []string{`line {"n":0}`, `line {"n":1}`, `line {"n":2}`}, events)
	require.NoError(t, <-ended)
}

// What the caller reads of an error, and what of the other side's inner life stays
// there.
// The end of the call must not overtake its result.
func TestAStreamThatEndsHasItsResult(t *testing.T) {
	socket, ended := listen(t, own(), func(_ context.Context, _ Request, emit func(string, any) error) (rpc.RawMessage, error) {
		return rpc.RawMessage(`"end"`), emit("line", map[string]any{"n": 1})
	})
	for range 500 {
		result, err := NewRunner(socket, true).Call(t.Context(), newCall(func(string, any) error { return nil }))
		require.NoError(t, err)
		require.Equal(t, `"end"`, string(result))
		require.NoError(t, <-ended)
	}
}

func TestErrorsOfTheOtherSide(t *testing.T) {
	executedNo := &rpc.ErrorData{Reason: "internal", Executed: rpc.ExecutedNo}
	for name, test := range map[string]struct {
		said     error
		code     int
		message  string
		executed string // of what this side makes; "" where the other side's data stay
	}{
		"a program that failed": {&rpc.Error{Code: -32000, Message: "exit status 3", Data: map[string]any{"exit_status": 3}}, -32000, "exit status 3", ""},
		"params":                {rpc.Errorf(rpc.CodeInvalidParams, "invalid params: x"), rpc.CodeInvalidParams, "invalid params: x", ""},
		"an output too large":   {&rpc.Error{Code: rpc.CodeReplyTooLarge, Message: "too large"}, rpc.CodeReplyTooLarge, "too large", ""},
		"another policy":        {rpc.Errorf(rpc.CodeNotAuthorized, "secret rule"), rpc.CodeInternalError, "internal error", "no"},
		"another method":        {rpc.Errorf(rpc.CodeMethodNotFound, "secret"), rpc.CodeInternalError, "internal error", "no"},
		"it could not start":    {&rpc.Error{Code: rpc.CodeInternalError, Message: "secret", Data: executedNo}, rpc.CodeInternalError, "internal error", "no"},
		"it broke":              {errors.New("secret"), rpc.CodeInternalError, "internal error", "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			socket, ended := listen(t, own(), func(context.Context, Request, func(string, any) error) (rpc.RawMessage, error) {
				return nil, test.said
			})
			_, err := NewRunner(socket, false).Call(t.Context(), newCall(nil))
			var got *rpc.Error
			require.ErrorAs(t, err, &got)
			require.Equal(t, test.code, got.Code)
			require.Contains(t, got.Message, test.message)
			require.NotContains(t, got.Message, "secret")
			if test.executed != "" {
				require.Equal(t, rpc.Executed(test.executed), got.Data.(*rpc.ErrorData).Executed)
			}
			require.NoError(t, <-ended)
		})
	}
}

func TestACallerWhoGoesEndsWhatRunsAndWaitsForIt(t *testing.T) {
	began, ran := make(chan struct{}), make(chan struct{})
	socket, ended := listen(t, own(), func(ctx context.Context, _ Request, _ func(string, any) error) (rpc.RawMessage, error) {
		close(began)
		<-ctx.Done()
		close(ran)
		return nil, context.Cause(ctx)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := NewRunner(socket, false).Call(ctx, newCall(nil))
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-ran:
	default:
		t.Fatal("it still runs")
	}
	require.NoError(t, <-ended)
}

func TestADaemonThatIsKilledEndsWhatRuns(t *testing.T) {
	began := make(chan struct{})
	socket, ended := listen(t, own(), func(ctx context.Context, _ Request, _ func(string, any) error) (rpc.RawMessage, error) {
		close(began)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	_, err = io.WriteString(conn, `{"jsonrpc":"2.0","id":1,"method":"run","params":{"method":"m","request_id":"r","peer":{"uid":1,"gid":1,"pid":1}}}`+"\n")
	require.NoError(t, err)
	<-began
	require.NoError(t, conn.Close())
	require.NoError(t, <-ended)
}

func TestNobodyButTheDaemonIsServed(t *testing.T) {
	socket, ended := listen(t, []uint32{4_000_000_000}, func(context.Context, Request, func(string, any) error) (rpc.RawMessage, error) {
		t.Error("it was run")
		return nil, nil
	})
	client, err := rpc.Dial(t.Context(), socket)
	require.NoError(t, err)
	err = client.Call(t.Context(), methodRun, Request{Method: "m", RequestID: "r"}, nil)
	require.ErrorContains(t, err, "does not run the daemon: nothing is run for it")
	require.NoError(t, client.Close())
	require.NoError(t, <-ended)
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	socket, ended := listen(t, own(), func(context.Context, Request, func(string, any) error) (rpc.RawMessage, error) {
		t.Error("it was run")
		return nil, nil
	})
	for _, params := range []string{`{}`, `{"method":"m","request_id":"a\nb"}`, `{"method":"m","request_id":"r","user":"root"}`, `{"method":1}`} {
		client, err := rpc.Dial(t.Context(), socket)
		require.NoError(t, err)
		var got *rpc.Error
		require.ErrorAs(t, client.Call(t.Context(), methodRun, rpc.RawMessage(params), nil), &got, params)
		require.Equal(t, rpc.CodeInvalidRequest, got.Code, params)
		require.NoError(t, client.Close())
		require.NoError(t, <-ended)
	}
}

func TestWithoutTheServiceManagerACallFailsAndWasNotExecuted(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T) string{
		"no socket": func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") },
		"nobody listens": func(t *testing.T) string {
			socket, _ := listen(t, own(), nil)
			path := socket + "2"
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			require.NoError(t, err)
			l.SetUnlinkOnClose(false)
			require.NoError(t, l.Close())
			return path
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRunner(prepare(t), false).Call(t.Context(), newCall(nil))
			var got *rpc.Error
			require.ErrorAs(t, err, &got)
			require.Equal(t, rpc.ExecutedNo, got.Data.(*rpc.ErrorData).Executed)
		})
	}
}

func TestATerminationCutsTheCallOff(t *testing.T) {
	ours, theirs := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		ended <- Serve(ctx, theirs, own(), func(ctx context.Context, _ Request, _ func(string, any) error) (rpc.RawMessage, error) {
			close(began)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}, silent())
	}()
	client := rpc.NewClient(ours, rpc.ClientOptions{})
	go func() {
		<-began
		cancel()
	}()
	err := client.Call(t.Context(), methodRun, Request{Method: "m", RequestID: "r"}, nil)
	require.ErrorContains(t, err, "shutting down")
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, client.Close())
}

func pair(t *testing.T) (ours, theirs net.Conn) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	ours, err = net.Dial("unix", path)
	require.NoError(t, err)
	theirs, err = l.Accept()
	require.NoError(t, err)
	return ours, theirs
}
