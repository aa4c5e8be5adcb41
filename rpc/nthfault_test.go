package rpc

import (
	"flag"
	"fmt"
	"sync"
	"syscall"
	"testing"
)

var faultSeeds = flag.Uint64("fault.seeds", 2, "how many seeds are played for each kind of fault, once for each operation")

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
	victim *simConn // whose operation failed; nil for none, and for the listener's close
}

// strike counts one operation on c, and returns its failure.
func (f *fault) strike(op operation, c *simConn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	if op == f.of && f.counts[op] == f.nth {
		f.victim = c
		return f.err
	}
	return nil
}

// taken returns how many of n bytes a write takes that fails.
func (f *fault) taken(n int) int { return min(n, f.short) }

// struck reports whether the fault has come to pass.
func (f *fault) struck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nth > 0 && f.counts[f.of] >= f.nth
}

// costs reports whether the fault may cost c its connection. A failure to accept
// is tried again, and what is closed is closed even if that fails.
func (f *fault) costs(c *simConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.victim == c && f.of != opAccept && f.of != opClose
}

func (f *fault) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.victim == nil {
		return "nothing was made to fail"
	}
	return fmt.Sprintf("operation %d of kind %d, of client %d, was made to fail: %v", f.nth, f.of, f.victim.peer.PID, f.err)
}

// TestAFailedOperationHurtsItsConnectionAlone plays a seed again and again: first
// the first operation of a kind fails, then the second, until a run has none to
// fail. All invariants of the simulation hold for all other clients, and what was
// taken by the one that is struck is given back.
func TestAFailedOperationHurtsItsConnectionAlone(t *testing.T) {
	for name, f := range map[string]*fault{
		"accept":                  {of: opAccept, err: syscall.EMFILE},
		"accept of one that left": {of: opAccept, err: syscall.ECONNABORTED},
		"read":                    {of: opRead, err: syscall.ECONNRESET},
		"write":                   {of: opWrite, err: syscall.EPIPE},
		"write in part":           {of: opWrite, err: syscall.ENOBUFS, short: 7},
		"close":                   {of: opClose, err: syscall.EIO},
		"deadline":                {of: opDeadline, err: syscall.EBADF},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= *faultSeeds; seed++ {
				for n := 1; playFault(t, seed, f, n); n++ {
				}
			}
		})
	}
}

// playFault plays one seed with the nth operation failing, and reports whether
// there was one.
func playFault(t *testing.T, seed uint64, f *fault, nth int) bool {
	played := &fault{of: f.of, err: f.err, short: f.short, nth: nth}
	simulateWith(t, seed, played)
	return played.struck()
}
