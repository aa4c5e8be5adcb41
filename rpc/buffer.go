package rpc

import "sync"

// buffer is a pooled piece of memory for input or output. It has one owner,
// who frees it or hands it on; nothing else may refer to it then.
type buffer struct {
	b     []byte
	class int // index into pools, or -1: left to the collector
}

// Sizes grow by four. The slack lets a message of a round size fit together
// with its envelope.
const (
	smallestBuffer = 16 << 10
	bufferClasses  = 6 // up to 16 MiB
	bufferSlack    = 4 << 10
)

var pools [bufferClasses]sync.Pool

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

// free gives the buffer back. It may be called on nil.
func (b *buffer) free() {
	if b != nil && b.class >= 0 {
		pools[b.class].Put(b)
	}
}
