package wirescript

import (
	"net"
	"os"
	"sync"

	"github.com/marianned/marianned/rpc"
)

// memory is a listener inside the process: its connections are pipes, which
// work under testing/synctest, and whose peer is this process.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case nc := <-m.conns:
		return nc, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.conns <- memoryConn{far}:
		return near, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

type memoryConn struct{ net.Conn }

func (memoryConn) Peer() (*rpc.Peer, error) {
	return &rpc.Peer{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid())}, nil
}
