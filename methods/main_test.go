package methods

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marianned/marianned/rpc"
)

// patience is how long a test waits for what must happen. It is no part of what
// is tested: nothing passes by waiting.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	operator = &rpc.Peer{UID: uint32(os.Geteuid()), PID: 1}
	stranger = &rpc.Peer{UID: 4_000_000, GID: 4_000_000, PID: 2}
)

// memory is a listener inside the process, whose peers are whom a test says.
type memory struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

type memoryConn struct {
	net.Conn
	peer *rpc.Peer
}

func (c memoryConn) Peer() (*rpc.Peer, error) { return c.peer, nil }

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// service is a server with the built-in methods, as a test sees it.
type service struct {
	t        testing.TB
	server   *rpc.Server
	daemon   Daemon
	listener *memory
	stops    chan bool // what Stop was called with
}

func start(t testing.TB, limits rpc.Limits, own ...*rpc.Method) *service {
	t.Helper()
	registry := new(rpc.Methods)
	s := &service{
		t:        t,
		server:   &rpc.Server{Methods: registry, Limits: limits, Authorize: Authorize},
		listener: newMemory(),
		stops:    make(chan bool, 10),
	}
	s.daemon = Daemon{
		Version: "1.2.3",
		Started: time.Now(),
		Server:  s.server,
		Metrics: func() (string, error) { return "up 1\n", nil },
		Stop:    func(graceful bool) { s.stops <- graceful },
	}
	require.NoError(t, Register(registry, s.daemon))
	for _, m := range own {
		require.NoError(t, registry.Register(m))
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	t.Cleanup(func() {
		_ = s.server.Close()
		require.ErrorIs(t, <-served, rpc.ErrServerClosed)
	})
	return s
}

// client sees the wire.
type client struct {
	t     testing.TB
	conn  net.Conn
	lines *bufio.Reader
}

func (s *service) dial(peer *rpc.Peer) *client {
	s.t.Helper()
	near, far := net.Pipe()
	s.t.Cleanup(func() { _ = near.Close() })
	require.NoError(s.t, near.SetDeadline(time.Now().Add(patience)))
	s.listener.conns <- memoryConn{far, peer}
	return &client{s.t, near, bufio.NewReader(near)}
}

func (c *client) send(text string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, text+"\n")
	require.NoError(c.t, err)
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(c.t, err, "got %q", line)
	return strings.TrimSuffix(line, "\n")
}

// reply is a reply or an event.
type reply struct {
	Method string
	Params map[string]any
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

func (c *client) reply() (r reply) {
	c.t.Helper()
	line := c.line()
	require.NoError(c.t, json.Unmarshal([]byte(line), &r), line)
	return r
}

// call calls method; params are "" for none.
func (c *client) call(method, params string) reply {
	c.t.Helper()
	if params != "" {
		params = `,"params":` + params
	}
	c.send(`{"jsonrpc":"2.0","id":1,"method":"` + method + `"` + params + `}`)
	return c.reply()
}

// result calls a method that must succeed and decodes its result.
func (c *client) result(method string, into any) json.RawMessage {
	c.t.Helper()
	r := c.call(method, "")
	require.Nil(c.t, r.Error, "%s: %+v", method, r.Error)
	require.NoError(c.t, json.Unmarshal(r.Result, into))
	return r.Result
}

// gate is a method whose calls wait until it is opened.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 10), make(chan struct{})} }

func (g *gate) ServeRPC(ctx context.Context, _ *rpc.Request) (any, error) {
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return "through", nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
