package rpc

import "sync"

// buffer is a pooled piece of memory for input or output. It has one owner,
// who frees it or hands it on; nothing else may refer to it then.
type buffer struct {
	b     []byte
	class int // index into pools, or -1: left to the collector

	// What it holds of the ledger, on account of conn; conn is nil if nothing.
	conn  *conn
	grant grant
}

// Sizes grow by four. The slack lets a message of a round size fit together
// with its envelope.
const (
	smallestBuffer = 16 << 10
	bufferClasses  = 6 // up to 16 MiB
	bufferSlack    = 4 << 10
)

// freelyTaken is the largest buffer that input gets without asking whether
// there is room in the ledger.
const freelyTaken = sharedFrame + bufferSlack

var pools [bufferClasses]sync.Pool

// bufferSize returns the size of the buffer that newBuffer makes for size.
func bufferSize(size int) int {
	n := smallestBuffer
	for range bufferClasses {
		if size <= n+bufferSlack {
			return n + bufferSlack
		}
		n *= 4
	}
	return size
}

// newBuffer returns a buffer of at least size bytes.
func newBuffer(size int) *buffer {
	n := smallestBuffer
	for class := range bufferClasses {
		if size <= n+bufferSlack {
			if b, ok := pools[class].Get().(*buffer); ok {
				return b
			}
			return &buffer{b: make([]byte, n+bufferSlack), class: class}
		}
		n *= 4
	}
	return &buffer{b: make([]byte, size), class: -1}
}

// bill puts on c's account what the buffer holds of the ledger.
func (b *buffer) bill(c *conn, g grant) { b.conn, b.grant = c, g }

// free gives the buffer back. It may be called on nil.
func (b *buffer) free() {
	if b == nil {
		return
	}
	if c := b.conn; c != nil {
		b.conn = nil
		c.giveBack(b.grant)
	}
	if b.class >= 0 {
		pools[b.class].Put(b)
	}
}
