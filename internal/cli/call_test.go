package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/rpc"
)

// serving runs a server with the daemon's methods and some for the tests, and
// makes its socket the one that clients find.
func serving(t *testing.T, more ...*rpc.Method) {
	t.Helper()
	folder, err := os.MkdirTemp("", "cli") // short: a socket's path has 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "rpc.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	registry := new(rpc.Methods)
	server := &rpc.Server{Methods: registry}
	for _, m := range more {
		require.NoError(t, registry.Register(m))
	}
	require.NoError(t, methods.Register(registry, methods.Daemon{
		Title: "test", Version: "1.2.3", Started: time.Now(), Server: server, Stop: func(bool) {},
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, rpc.ErrServerClosed)
	})
	t.Setenv("MARIANNED_SOCKET", path)
}

func method(name string, f rpc.HandlerFunc) *rpc.Method { return &rpc.Method{Name: name, Handler: f} }

func TestCallPrintsTheResult(t *testing.T) {
	serving(t,
		method("raw", func(context.Context, *rpc.Request) (any, error) {
			return rpc.RawMessage("{\"n\": 1234567890123456789012,\t\"c\": \"\u009b\", \"e\": \"\\u00e9\"}"), nil
		}),
		method("lines", func(context.Context, *rpc.Request) (any, error) { return "a\tb\nc\n", nil }),
		method("nothing", func(context.Context, *rpc.Request) (any, error) { return nil, nil }),
	)
	for _, test := range []struct{ name, args, stdin, want string }{
		{"indented", "rpc.echo a=b c:=[1,{}]", "", "{\n  \"a\": \"b\",\n  \"c\": [\n    1,\n    {}\n  ]\n}\n"},
		{"on one line", "rpc.echo a=b --json", "", "{\"a\":\"b\"}\n"},
		{"numbers keep their digits", "rpc.echo a:=12345678901234567890.10", "", "{\n  \"a\": 12345678901234567890.10\n}\n"},
		{"params from stdin", "rpc.echo --params - --json", "[1,\n2]", "[1,2]\n"},
		{"params that are null", "rpc.echo --params - --json", "null", "null\n"},
		{"no params", "rpc.echo", "", "null\n"},
		{"no result", "nothing", "", "null\n"},
		{"a string", "rpc.ping", "", "\"pong\"\n"},
		{"as it came", "raw --json", "", "{\"n\": 1234567890123456789012,\t\"c\": \"\u009b\", \"e\": \"\\u00e9\"}\n"},
		{"with nothing that steers a terminal", "raw", "", "{\n  \"n\": 1234567890123456789012,\n  \"c\": \"\\u009b\",\n  \"e\": \"\\u00e9\"\n}\n"},
		{"a string as it is", "rpc.ping --raw", "", "pong\n"},
		{"lines as they are", "lines --raw", "", "a\tb\nc\n"},
		{"what is no string", "rpc.echo a=b --raw --json", "", "{\"a\":\"b\"}\n"},
		{"without a timeout", "rpc.ping --timeout 0", "", "\"pong\"\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := run(t, test.stdin, append([]string{"call"}, strings.Fields(test.args)...)...)
			require.Zero(t, code, stderr)
			require.Empty(t, stderr)
			require.Equal(t, test.want, stdout)
		})
	}
}

func TestACallThatFailsPrintsTheError(t *testing.T) {
	serving(t,
		method("refuse", func(context.Context, *rpc.Request) (any, error) {
			return nil, &rpc.Error{Code: -32000, Message: "no such disk\x1b[31m", Data: rpc.RawMessage(`{"disk":"sdz"}`)}
		}),
		method("forbid", func(context.Context, *rpc.Request) (any, error) {
			return nil, rpc.Errorf(rpc.CodeNotAuthorized, "not for you")
		}),
		method("fail", func(context.Context, *rpc.Request) (any, error) { return nil, errors.New("secret") }),
	)
	for _, test := range []struct {
		args string
		code int
		want []string
	}{
		{"refuse", 1, []string{`marianned: refuse: no such disk\u001b[31m (code -32000)`, "\ndata: {\"disk\":\"sdz\"}\n"}},
		{"refuse --json", 1, []string{`{"code":-32000,"message":"no such disk\u001b[31m","data":{"disk":"sdz"}}` + "\n"}},
		{"forbid", 77, []string{"not for you (code -32006)"}},
		{"fail", 1, []string{"(code -32603)"}},
		{"unknown", 1, []string{`method "unknown" not found`, "`marianned methods` lists"}},
		{"rpc.ping a=1", 1, []string{"invalid params", "`marianned describe` shows"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := run(t, "", append([]string{"call"}, strings.Fields(test.args)...)...)
			require.Equal(t, test.code, code, stderr)
			require.Empty(t, stdout)
			for _, want := range test.want {
				require.Contains(t, stderr, want)
			}
			require.NotContains(t, stderr, "secret")
		})
	}
}

// blocking is a method that says when it has begun and with what its context
// ended.
func blocking() (m *rpc.Method, begun chan struct{}, ended chan error) {
	begun, ended = make(chan struct{}), make(chan error, 1)
	return method("block", func(ctx context.Context, _ *rpc.Request) (any, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}), begun, ended
}

func TestACallThatTakesTooLongIsGivenUp(t *testing.T) {
	m, _, ended := blocking()
	serving(t, m)
	code, stdout, stderr := run(t, "", "call", "block", "--timeout", "50ms")
	require.Equal(t, 1, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "marianned: block: no answer within 50ms (--timeout); the call may have been executed")
	require.Error(t, <-ended, "the call is cancelled at the daemon")
}

func TestCtrlCCancelsTheCall(t *testing.T) {
	m, begun, ended := blocking()
	serving(t, m)
	go func() {
		<-begun
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	code, _, stderr := run(t, "", "call", "block", "--timeout", "0")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "marianned: block: interrupted; the call may have been executed")
	require.Error(t, <-ended, "the call is cancelled at the daemon")
}

// liveWriter passes on each line as it is written.
type liveWriter struct{ lines chan string }

func (w liveWriter) Write(p []byte) (int, error) { w.lines <- string(p); return len(p), nil }

func TestAStreamIsPrintedAsItComes(t *testing.T) {
	more := make(chan struct{})
	serving(t, &rpc.Method{Name: "count", Stream: func(ctx context.Context, _ *rpc.Request, s *rpc.Stream) (any, error) {
		for i := range 3 {
			if err := s.Send("number", map[string]int{"n": i}); err != nil {
				return nil, err
			}
			<-more
		}
		return "done", nil
	}})
	out := liveWriter{make(chan string)}
	ended := make(chan int)
	var stderr strings.Builder
	go func() {
		ended <- Main([]string{"call", "count", "--stream", "--json"}, strings.NewReader(""), out, &stderr)
	}()
	for _, want := range []string{"0", "1", "2"} {
		line := <-out.lines
		require.Regexp(t, `^\{"method":"number","params":\{"subscription":[^,]+,"n":`+want+`\}\}\n$`, line)
		more <- struct{}{}
	}
	require.Equal(t, "\"done\"\n", <-out.lines)
	require.Zero(t, <-ended, stderr.String())
}

func TestCtrlCEndsAStream(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	serving(t, &rpc.Method{Name: "follow", Stream: func(ctx context.Context, _ *rpc.Request, _ *rpc.Stream) (any, error) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	go func() {
		<-begun
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	code, stdout, stderr := run(t, "", "call", "follow", "--stream")
	require.Equal(t, 1, code)
	require.Empty(t, stdout)
	require.Equal(t, "marianned: follow: interrupted; the stream is cancelled\n", stderr)
	<-ended
}

func TestAStreamThatFailsEndsInItsError(t *testing.T) {
	serving(t, &rpc.Method{Name: "follow", Stream: func(_ context.Context, _ *rpc.Request, s *rpc.Stream) (any, error) {
		_ = s.Send("line", map[string]string{"text": "a"})
		return nil, rpc.Errorf(-32000, "the file is gone")
	}})
	code, stdout, stderr := run(t, "", "call", "follow", "--stream")
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "\"text\": \"a\"")
	require.Contains(t, stderr, "follow: the file is gone (code -32000)")
}

func TestAnEventThatCannotBePrintedEndsTheStream(t *testing.T) {
	ended := make(chan struct{})
	serving(t, &rpc.Method{Name: "follow", Stream: func(ctx context.Context, _ *rpc.Request, s *rpc.Stream) (any, error) {
		defer close(ended)
		_ = s.Send("line", map[string]string{"text": "a"})
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	var stderr strings.Builder
	require.Equal(t, 70, Main([]string{"call", "follow", "--stream"}, strings.NewReader(""), fullDisk{}, &stderr))
	require.Contains(t, stderr.String(), "no space left on device")
	<-ended
}

func TestADaemonThatDiesInACallIsReported(t *testing.T) {
	for _, flag := range []string{"--json", "--stream"} {
		folder, err := os.MkdirTemp("", "cli")
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(folder) })
		path := filepath.Join(folder, "rpc.sock")
		listener, err := net.Listen("unix", path)
		require.NoError(t, err)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			conn, err := listener.Accept()
			if err == nil {
				_, _ = conn.Read(make([]byte, 4096))
				_ = conn.Close()
			}
			_ = listener.Close()
		}()
		code, stdout, stderr := run(t, "", "call", "move", flag, "--socket", path)
		require.Equal(t, 1, code, flag)
		require.Empty(t, stdout)
		require.Equal(t, "marianned: move: the daemon closed the connection without an answer; the call may have been executed: look before you send it again\n", stderr)
		<-gone
	}
}

func TestMethodsAndDescribeAskTheDaemon(t *testing.T) {
	serving(t)
	code, stdout, stderr := run(t, "", "methods")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "\nrpc.ping               Answers \"pong\": the connection works\n")
	require.Regexp(t, `(?m)^daemon\.monitor\.stream  .* \(stream\)$`, stdout)

	code, stdout, _ = run(t, "", "methods", "--json")
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(stdout, `{"openrpc":`), stdout)
	require.Equal(t, 1, strings.Count(stdout, "\n"))

	code, stdout, _ = run(t, "", "describe", "rpc.cancel")
	require.Zero(t, code)
	require.Contains(t, stdout, "  id  string|number  required  id of the call\n")

	code, stdout, _ = run(t, "", "describe", "rpc.ping", "--json")
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(stdout, `{"name":"rpc.ping"`), stdout)

	code, stdout, stderr = run(t, "", "describe", "rpc.pign")
	require.Equal(t, 1, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "there is no method \"rpc.pign\", or you may not see it; did you mean \"rpc.ping\"?")
}

func TestStatusAsksTheDaemon(t *testing.T) {
	serving(t)
	code, stdout, stderr := run(t, "", "status")
	require.Zero(t, code, stderr)
	require.Regexp(t, `(?m)^version            1\.2\.3$`, stdout)
	require.Regexp(t, `(?m)^  max connections               500$`, stdout)
	code, stdout, _ = run(t, "", "status", "--json")
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(stdout, `{"pid":`), stdout)
}

func TestClientsThatFindNobodySaySo(t *testing.T) {
	t.Setenv("MARIANNED_SOCKET", "/nonexistent/rpc.sock")
	for _, args := range []string{"call rpc.ping", "call rpc.ping --json", "methods", "describe rpc.ping", "status"} {
		code, stdout, stderr := run(t, "", strings.Fields(args)...)
		require.Equal(t, 69, code, args)
		require.Empty(t, stdout, args)
		require.Contains(t, stderr, "marianned: cannot connect to /nonexistent/rpc.sock: there is no socket; `marianned serve", args)
	}
	code, _, stderr := run(t, "", "call", "rpc.ping", "--socket", "/elsewhere/rpc.sock")
	require.Equal(t, 69, code)
	require.Contains(t, stderr, "/elsewhere/rpc.sock", "--socket wins over the environment")
	code, _, stderr = run(t, "", "status", "--socket", "")
	require.Equal(t, 64, code)
	require.Contains(t, stderr, "--socket is empty")
}

func TestADaemonThatHangsIsNotWaitedForInVain(t *testing.T) {
	folder, err := os.MkdirTemp("", "cli")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "rpc.sock")
	listener, err := net.Listen("unix", path) // nobody accepts
	require.NoError(t, err)
	defer listener.Close()
	code, _, stderr := run(t, "", "status", "--socket", path, "--timeout", "50ms")
	require.Equal(t, 69, code)
	require.Contains(t, stderr, "no answer within 50ms")
}

func TestAValueHasTheTypeThatTheMethodExpects(t *testing.T) {
	typed := method("typed", func(_ context.Context, req *rpc.Request) (any, error) {
		return rpc.RawMessage(append([]byte(nil), req.Params...)), nil
	})
	typed.ParamsSchema = rpc.RawMessage(`{"type":"object","properties":{
		"text":{"type":"string"},"count":{"type":"integer"},"ratio":{"type":"number"},"flag":{"type":"boolean"},
		"list":{"type":"array"},"map":{"type":"object"},"either":{"type":["string","integer"]},"maybe":{"type":["integer","null"]},"any":{}}}`)
	serving(t, typed)
	for args, want := range map[string]string{
		"text=5 count=5 ratio=1.50 flag=true": `{"text":"5","count":5,"ratio":1.50,"flag":true}`,
		"list=[1,2] map={}":                   `{"list":[1,2],"map":{}}`,
		"either=5 any=5 maybe=null":           `{"either":"5","any":"5","maybe":null}`,
		"count=many flag=1 list={}":           `{"count":"many","flag":"1","list":"{}"}`,
		"unknown=5 count:=\"5\"":              `{"unknown":"5","count":"5"}`,
	} {
		code, stdout, stderr := run(t, "", append([]string{"call", "--json", "typed"}, strings.Fields(args)...)...)
		require.Zero(t, code, stderr)
		require.Equal(t, want+"\n", stdout, args)
	}
}
