package rpc

import (
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryListener hands out connections inside the process, which work under
// testing/synctest.
type memoryListener struct {
	conns    chan net.Conn
	mu       sync.Mutex
	deadline chan struct{} // closed when Accept is to time out
	closed   chan struct{}
	once     sync.Once
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn, 1000), deadline: make(chan struct{}), closed: make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	deadline := l.deadline
	l.mu.Unlock()
	select { // a deadline in the past wins over a pending connection
	case <-deadline:
		return nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-deadline:
		return nil, os.ErrDeadlineExceeded
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.IsZero() {
		l.deadline = make(chan struct{})
	} else {
		close(l.deadline)
	}
	return nil
}

// Close ends also the connections that nobody accepted, as a kernel does.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		go func() {
			for nc := range l.conns {
				_ = nc.Close()
			}
		}()
	})
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// memoryConn is the server's end of a pipe, with a peer that the test chose.
type memoryConn struct {
	net.Conn
	peer Peer
}

func (c *memoryConn) Peer() (*Peer, error) { return &c.peer, nil }

func (l *memoryListener) dial(uid uint32) net.Conn {
	client, server := net.Pipe()
	l.conns <- &memoryConn{server, Peer{UID: uid, GID: uid, PID: 1}}
	return client
}

// inBubble runs f in fake time with a server, made there too, on a memory
// listener, and fails if f leaves anything of the server behind.
func inBubble(t *testing.T, newServer func() *Server, f func(t *testing.T, srv *Server, l *memoryListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		l := newMemoryListener()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		f(t, srv, l)
		_ = srv.Close()
		if err := <-served; err != ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
		close(l.conns)
		synctest.Wait()
		if n := len(srv.snapshot()); n > 0 {
			t.Errorf("%d connections are left", n)
		}
		a := srv.adm
		if a.serving+a.overfull+a.room.Len()+len(a.accounts)+a.running()+a.queue.length+len(a.queue.lines)+a.parked+len(a.methods)+a.streams+a.ledger.totalLocked() != 0 {
			t.Errorf("something was not given back: %+v", a)
		}
	})
}
