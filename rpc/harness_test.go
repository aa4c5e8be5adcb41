package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen. It is no part of
// what is tested: nothing passes by waiting.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer serves srv on a socket of its own until the test ends.
func startServer(t testing.TB, srv *Server) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "rpc") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		require.ErrorIs(t, <-served, ErrServerClosed)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, srv.waitForConns(ctx), "connections are left")
	})
	return path
}

// wireConn is a client that sees the wire.
type wireConn struct {
	t testing.TB
	*net.UnixConn
	lines *bufio.Reader
}

func dialWire(t testing.TB, path string) *wireConn {
	t.Helper()
	nc, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	return &wireConn{t, nc.(*net.UnixConn), bufio.NewReaderSize(nc, 64<<10)}
}

func (w *wireConn) send(text string) {
	w.t.Helper()
	_, err := io.WriteString(w, text)
	require.NoError(w.t, err)
}

func (w *wireConn) line() string {
	w.t.Helper()
	line, err := w.lines.ReadString('\n')
	require.NoError(w.t, err, "got %q", line)
	return strings.TrimSuffix(line, "\n")
}

// reply is a reply as a test looks at it.
type reply struct {
	ID     json.RawMessage
	Method string
	Params map[string]any
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Data    map[string]any
	}
}

func (w *wireConn) reply() (r reply) {
	w.t.Helper()
	line := w.line()
	require.NoError(w.t, json.Unmarshal([]byte(line), &r), line)
	return r
}

func (w *wireConn) eof() {
	w.t.Helper()
	rest, err := io.ReadAll(w.lines)
	require.NoError(w.t, err)
	require.Empty(w.t, string(rest))
}

func echo(_ context.Context, req *Request) (any, error) { return req.Params, nil }

// gate is a method whose calls wait until it is opened, or their context ends.
type gate struct {
	entered chan string // params of calls that have begun
	open    chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan string, 1000), open: make(chan struct{})} }

func (g *gate) ServeRPC(ctx context.Context, req *Request) (any, error) {
	g.entered <- string(req.Params)
	select {
	case <-g.open:
		return "through", nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func testMethods(t testing.TB, list ...*Method) *Methods {
	ms := new(Methods)
	ms.Handle("fail", HandlerFunc(func(context.Context, *Request) (any, error) { return nil, errors.New("secret") }))
	ms.Handle("panic", HandlerFunc(func(context.Context, *Request) (any, error) { panic("secret") }))
	require.NoError(t, ms.Register(&Method{Name: "echo", Handler: HandlerFunc(echo), TakesArray: true}))
	for _, m := range list {
		require.NoError(t, ms.Register(m))
	}
	return ms
}
