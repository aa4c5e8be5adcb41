package rpc

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// sendBuffer is the size of the kernel's buffer for replies that do not fit
	// in the usual one, in bytes (SO_SNDBUF, socket(7)): fewer turns with the
	// reader.
	sendBuffer = 1 << 20

	// maxSendBuffers is how many connections have one at a time. What peers do
	// not read is charged to the service (memory.kmem, in the kernel's
	// cgroup-v2), up to twice the size for each.
	maxSendBuffers = 16

	// readByPeer is how much may be unread, in bytes, when a large buffer is
	// given up for others.
	readByPeer = 64 << 10
)

// largeSendBuffer is a connection's part in maxSendBuffers. Its writer gets
// one, its reader gives it back.
type largeSendBuffer struct {
	taken atomic.Bool
	usual int // size of the buffer before, as getsockopt tells it
}

// enlargeSendBuffer is called by the writer before a large reply. Without one
// it is slower, no more.
func (c *conn) enlargeSendBuffer(fd int) {
	if c.sendBuffer.taken.Load() {
		return
	}
	if c.srv.sendBuffers.Add(1) > maxSendBuffers {
		c.srv.sendBuffers.Add(-1)
		return
	}
	if c.sendBuffer.usual == 0 {
		c.sendBuffer.usual, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	c.sendBuffer.taken.Store(true)
}

// shareSendBuffer gives the large buffer back if others may need it and the
// peer has read its replies. It is called by the reader, when input has come.
func (c *conn) shareSendBuffer() {
	if !c.sendBuffer.taken.Load() || c.srv.sendBuffers.Load() < maxSendBuffers {
		return
	}
	_ = c.raw.Control(func(fd uintptr) { // fails for a closed connection, which leaveSendBuffer follows
		unread, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if err == nil && unread < readByPeer {
			c.resetSendBuffer(fd)
			c.leaveSendBuffer()
		}
	})
}

// resetSendBuffer brings the usual size back. Where that fails the buffer is too
// large, no more.
func (c *conn) resetSendBuffer(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, c.sendBuffer.usual/2) // the kernel doubles it
}

func (c *conn) leaveSendBuffer() {
	if c.sendBuffer.taken.CompareAndSwap(true, false) {
		c.srv.sendBuffers.Add(-1)
	}
}
