package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/rpc"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022)
	goleak.VerifyTestMain(m)
}

// memory is a listener inside the process; its peers are the process's own user.
type memory struct {
	conns chan net.Conn

	mu     sync.Mutex
	wake   chan struct{} // closed by the next change
	past   bool          // the deadline has passed
	broken error
}

type memoryConn struct{ net.Conn }

func (memoryConn) Peer() (*rpc.Peer, error) {
	return &rpc.Peer{UID: uint32(os.Geteuid()), PID: 1}, nil
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), wake: make(chan struct{})}
}

func (m *memory) Accept() (net.Conn, error) {
	for {
		m.mu.Lock()
		past, broken, wake := m.past, m.broken, m.wake
		m.mu.Unlock()
		if broken != nil {
			return nil, broken
		}
		if past {
			return nil, os.ErrDeadlineExceeded
		}
		select {
		case c := <-m.conns:
			return c, nil
		case <-wake:
		}
	}
}

func (m *memory) change(edit func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	edit()
	close(m.wake)
	m.wake = make(chan struct{})
}

func (m *memory) SetDeadline(t time.Time) error {
	m.change(func() { m.past = !t.IsZero() })
	return nil
}
func (m *memory) Close() error   { m.change(func() { m.broken = net.ErrClosed }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// manager is the service manager: it keeps what it was told.
type manager struct {
	mu   sync.Mutex
	told []string
	fail error

	failures map[string]error // by what is told

	storeLimit int
	store      []*os.File // not what was taken out of it
}

func (m *manager) add(text string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if err := m.failures[text]; err != nil {
		return err
	}
	m.told = append(m.told, text)
	return nil
}

func (m *manager) Ready(status string) error    { return m.add("READY " + status) }
func (m *manager) Reloading() error             { return m.add("RELOADING") }
func (m *manager) Status(status string) error   { return m.add("STATUS " + status) }
func (m *manager) Stopping(status string) error { return m.add("STOPPING " + status) }
func (m *manager) Watchdog() error              { return m.add("WATCHDOG") }

func (m *manager) StoreLimit() (limit int, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.storeLimit, true
}

func (m *manager) Store(name string, c syscall.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	duplicate := -1
	controlErr := raw.Control(func(fd uintptr) { duplicate, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(controlErr, err); err != nil {
		return err
	}
	if err := m.add("STORE " + name); err != nil {
		return errors.Join(err, unix.Close(duplicate))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store = append(m.store, os.NewFile(uintptr(duplicate), name))
	return nil
}

func (m *manager) Unstore(name string) error   { return m.add("UNSTORE " + name) }
func (m *manager) Barrier(time.Duration) error { return m.add("BARRIER") }

func (m *manager) ExtendTimeout(by time.Duration) error { return m.add("EXTEND " + by.String()) }

// take returns what was told since the last take.
func (m *manager) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := m.told
	m.told = nil
	return told
}

// fixture is a daemon on listeners inside the process, for a bubble of synctest.
type fixture struct {
	t         *testing.T
	l         *lifecycle
	manager   *manager
	listener  *memory // the socket "rpc"
	admin     *memory
	terminate chan os.Signal
	hangup    chan os.Signal
	log       *logBuffer
	ended     chan error
	cancel    context.CancelFunc
}

func start(t *testing.T, cfg Config, own ...*rpc.Method) *fixture {
	t.Helper()
	return startAdjusted(t, cfg, func(*lifecycle) {}, own...)
}

// startAdjusted is start with a change that no Config makes.
func startAdjusted(t *testing.T, cfg Config, adjust func(*lifecycle), own ...*rpc.Method) *fixture {
	t.Helper()
	f := &fixture{
		t: t, manager: new(manager), listener: newMemory(), admin: newMemory(), log: new(logBuffer),
		terminate: make(chan os.Signal, 2), hangup: make(chan os.Signal, 1), ended: make(chan error, 1),
	}
	cfg.Logger = NewLogger(f.log, logrus.DebugLevel)
	if own != nil {
		cfg.Methods = func(registry *rpc.Methods) error {
			for _, m := range own {
				if err := registry.Register(m); err != nil {
					return err
				}
			}
			return nil
		}
	}
	l, err := newLifecycle(cfg, []*activation.Socket{
		{Name: activation.NameAdmin, Path: "/run/x/admin.sock", Inherited: true},
		{Name: activation.NameRPC, Path: "/run/x/x.sock", Inherited: true},
	})
	require.NoError(t, err)
	l.listeners = []net.Listener{f.admin, f.listener} // as the sockets
	l.notify, l.terminate, l.hangup = f.manager, f.terminate, f.hangup
	f.l = l
	adjust(l)
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	t.Cleanup(cancel)
	go func() { f.ended <- l.run(ctx) }()
	return f
}

// client sees the wire.
type client struct {
	t     testing.TB
	conn  net.Conn
	lines *bufio.Reader
}

func (f *fixture) dial(l *memory) *client {
	near, far := net.Pipe()
	f.t.Cleanup(func() { _ = near.Close() })
	l.conns <- memoryConn{far}
	return &client{f.t, near, bufio.NewReader(near)}
}

func (c *client) send(text string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, text+"\n")
	require.NoError(c.t, err)
}

type reply struct {
	Result json.RawMessage
	Error  *struct {
		Code int
		Data struct {
			Executed string
			Findings []string
		}
	}
}

func (c *client) reply() (r reply) {
	c.t.Helper()
	line := c.line()
	require.NoError(c.t, json.Unmarshal([]byte(line), &r), line)
	return r
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(c.t, err, "got %q", line)
	return line
}

func (c *client) call(method, params string) reply {
	c.t.Helper()
	if params != "" {
		params = `,"params":` + params
	}
	c.send(`{"jsonrpc":"2.0","id":"call","method":"` + method + `"` + params + `}`)
	return c.reply()
}

func (c *client) eof() {
	c.t.Helper()
	rest, err := io.ReadAll(c.lines)
	require.NoError(c.t, err)
	require.Empty(c.t, string(rest))
}

// logBuffer may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// sleeper is a method that takes as long as its test says, whatever its context
// wants.
func sleeper(d time.Duration) *rpc.Method {
	return &rpc.Method{Name: "sleep", Handler: rpc.HandlerFunc(func(context.Context, *rpc.Request) (any, error) {
		time.Sleep(d)
		return "slept", nil
	})}
}
