package rpc

import "sync"

// operation is what can be made to fail.
type operation int

const (
	opAccept operation = iota
	opRead
	opWrite
	opClose
	opDeadline
	operations
)

// fault makes one operation of a simulated network fail: the nth of its kind.
// The zero value never strikes.
type fault struct {
	mu     sync.Mutex
	of     operation
	nth    int // counted from 1; 0 for none
	err    error
	short  int // bytes that a write takes before it fails
	counts [operations]int
}

// strike counts one operation, and returns its failure.
func (f *fault) strike(op operation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	if op == f.of && f.counts[op] == f.nth {
		return f.err
	}
	return nil
}

// taken returns how many of n bytes a write takes that fails.
func (f *fault) taken(n int) int { return min(n, f.short) }
