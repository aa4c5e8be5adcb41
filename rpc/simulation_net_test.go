package rpc

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// simNet is a socket whose connections are socket pairs inside the process.
// Unlike net.Pipe they have buffers, which fill up. The server's end blocks and
// has deadlines, as the kernel's; the client's end belongs to the test and never
// blocks. Everything works in fake time.
type simNet struct {
	capacity int // of a buffer, in bytes
	fault    *fault

	mu       sync.Mutex
	changed  *sync.Cond
	backlog  []*simConn
	kept     bool // another listener will come
	over     bool // none will
	open     int  // server ends that were accepted and not closed
	mostOpen int
}

func newSimNet(capacity int, f *fault) *simNet {
	n := &simNet{capacity: capacity, fault: f}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// dial returns the client's end of a connection that waits in the backlog.
func (n *simNet) dial(uid uint32, pid int32) *simEnd {
	c := &simConn{net: n, peer: Peer{UID: uid, GID: uid, PID: pid}}
	c.changed = sync.NewCond(&c.mu)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		c.refused()
	} else {
		n.backlog = append(n.backlog, c)
	}
	n.changed.Broadcast()
	return &simEnd{c}
}

// simListener is the listener of one server; others may have the next
// connections.
type simListener struct {
	*simNet
	closed   bool
	deadline time.Time
}

func (n *simListener) Accept() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case n.closed:
			return nil, net.ErrClosed
		case !n.deadline.IsZero(): // the server sets none that is not past
			return nil, os.ErrDeadlineExceeded
		case len(n.backlog) > 0:
			if err := n.fault.strike(opAccept, n.backlog[0]); err != nil {
				return nil, err
			}
			c := n.backlog[0]
			n.backlog = n.backlog[1:]
			n.open++
			n.mostOpen = max(n.mostOpen, n.open)
			return c, nil
		}
		n.changed.Wait()
	}
}

func (n *simListener) SetDeadline(t time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deadline = t
	n.changed.Broadcast()
	return nil
}

// Close ends also the connections that nobody accepted, as a kernel does with the
// last listener of a socket, unless another server comes.
func (n *simListener) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if !n.kept {
		n.over = true
		for _, c := range n.backlog {
			c.refused()
		}
		n.backlog = nil
	}
	n.changed.Broadcast()
	return n.fault.strike(opClose, nil)
}

// keep has the next listener find the backlog, or not.
func (n *simNet) keep(kept bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept = kept
}

func (n *simNet) Addr() net.Addr { return &net.UnixAddr{Name: "simulation", Net: "unix"} }

// simConn is the server's end.
type simConn struct {
	net  *simNet
	peer Peer

	mu       sync.Mutex
	changed  *sync.Cond
	in, out  []byte // what was sent to the server, and by it, and not yet read
	consumed int    // bytes that the server has read
	// The server's end closed, for reading or as a whole; the client's end, for
	// writing or as a whole.
	deafHere, closedHere, mutePeer, closedPeer bool
	reset                                      bool // the client's end was closed with input unread
	blocked                                    bool // the server writes, and the buffer is full
	readBy, writeBy                            simDeadline
	lastPast                                   time.Time // deadline of the last read that came too late
	spins                                      int       // reads that this one failed
}

// simDeadline wakes who waits on a connection when its time has come.
type simDeadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *simDeadline) set(c *simConn, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.changed.Broadcast()
		})
	}
	c.changed.Broadcast()
}

func (d *simDeadline) past() bool { return !d.at.IsZero() && !d.at.After(time.Now()) }

// refused is the end of a connection that nobody accepts any more.
func (c *simConn) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closedHere = true
}

func (c *simConn) Peer() (*Peer, error) { return &c.peer, nil }

func (c *simConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closedHere:
			return 0, net.ErrClosed
		case c.readBy.past():
			c.spin()
			return 0, os.ErrDeadlineExceeded
		case c.deafHere:
			return 0, io.EOF
		case len(c.in) > 0 && len(b) > 0:
			if err := c.net.fault.strike(opRead, c); err != nil {
				return 0, err
			}
			n := copy(b, c.in)
			c.in = c.in[n:]
			c.consumed += n
			return n, nil
		case c.reset:
			return 0, syscall.ECONNRESET
		case c.mutePeer:
			if err := c.net.fault.strike(opRead, c); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		c.changed.Wait()
	}
}

// spin fails the test where the server reads again and again, though nothing
// has changed: in fake time it would do so for ever.
func (c *simConn) spin() {
	if c.lastPast != c.readBy.at {
		c.lastPast, c.spins = c.readBy.at, 0
	}
	if c.spins++; c.spins > 1000 {
		panic("the server reads for ever, with a deadline that has passed")
	}
}

func (c *simConn) Write(b []byte) (written int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.blocked = false }()
	if err := c.net.fault.strike(opWrite, c); err != nil {
		written = c.net.fault.taken(len(b))
		c.out = append(c.out, b[:written]...)
		return written, err
	}
	for {
		switch {
		case c.closedHere:
			return written, net.ErrClosed
		case c.writeBy.past():
			return written, os.ErrDeadlineExceeded
		case c.closedPeer:
			return written, syscall.EPIPE
		}
		n := min(len(b), c.net.capacity-len(c.out))
		if n > 0 {
			c.out = append(c.out, b[:n]...)
			b = b[n:]
			written += n
		}
		if len(b) == 0 {
			return written, nil
		}
		c.blocked = true
		c.changed.Wait()
	}
}

func (c *simConn) Close() error {
	c.mu.Lock()
	if !c.closedHere {
		c.closedHere = true
		c.readBy.set(c, time.Time{})
		c.writeBy.set(c, time.Time{})
		defer func() {
			c.net.mu.Lock()
			c.net.open--
			c.net.mu.Unlock()
		}()
	}
	c.mu.Unlock()
	return c.net.fault.strike(opClose, c)
}

func (c *simConn) CloseRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deafHere = true
	c.changed.Broadcast()
	return nil
}

func (c *simConn) setDeadline(d *simDeadline, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.net.fault.strike(opDeadline, c); err != nil {
		return err
	}
	if c.closedHere {
		return net.ErrClosed
	}
	d.set(c, t)
	return nil
}

func (c *simConn) SetReadDeadline(t time.Time) error  { return c.setDeadline(&c.readBy, t) }
func (c *simConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeBy, t) }

func (c *simConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *simConn) LocalAddr() net.Addr  { return c.net.Addr() }
func (c *simConn) RemoteAddr() net.Addr { return c.net.Addr() }

// simEnd is the client's end.
type simEnd struct{ *simConn }

// put sends what fits of b, and reports how much.
func (e *simEnd) put(b []byte) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mutePeer || e.closedPeer || e.closedHere || e.deafHere {
		return 0
	}
	n := min(len(b), e.net.capacity-len(e.in))
	if n <= 0 {
		return 0
	}
	e.in = append(e.in, b[:n]...)
	e.changed.Broadcast()
	return n
}

// take receives up to max bytes of what is there.
func (e *simEnd) take(max int) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(max, len(e.out))
	b := e.out[:n:n]
	if e.out = e.out[n:]; n > 0 {
		e.changed.Broadcast()
	}
	return b
}

// endOfWriting is shutdown(2) of the client's end for writing.
func (e *simEnd) endOfWriting() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mutePeer = true
	e.changed.Broadcast()
}

// hangUp closes the client's end.
func (e *simEnd) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reset = len(e.out) > 0
	e.mutePeer, e.closedPeer = true, true
	e.changed.Broadcast()
}

// state tells how many bytes lie unread at either end, how many the server has
// read, and whether it has closed its end.
func (e *simEnd) state() (toServer, toClient, consumed int, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.in), len(e.out), e.consumed, e.closedHere
}

// writing reports whether the server waits until its end takes more.
func (e *simEnd) writing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.blocked
}
