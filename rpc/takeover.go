package rpc

import (
	"bytes"
	"sync/atomic"
	"time"
)

// A handler runs on the goroutine that reads its connection: for the small
// calls that a local daemon mostly sees, a goroutine for each would cost more
// than the call. So that a slow handler, or a peer that does not take its
// replies, does not stop the reading, another goroutine takes the reading over.
//
// Somebody must look for readers that are stuck, and each look disturbs a
// machine that has little else to do: woken threads cost more than the calls.
// So the looks come after takeoverInterval at first, then, while all are found
// quick, ever less often, down to maxTakeoverInterval; a reader that is found
// stuck brings them back. A method whose calls were found stuck does not run on
// the reader again until it has been quick for a while: see slowness.
const (
	takeoverInterval    = time.Millisecond
	maxTakeoverInterval = 16 * time.Millisecond
)

// slowness is what is remembered of a method that was once too slow for the
// reader: how many more quick calls prove that it is not.
type slowness struct{ left uint32 }

const (
	quickCalls = 64                     // that prove it
	quickTime  = 200 * time.Microsecond // of a quick call
)

func (s *slowness) slow() bool { return atomic.LoadUint32(&s.left) > 0 }

func (s *slowness) wasSlow() { atomic.StoreUint32(&s.left, quickCalls) }

// took notes how long a call took that did not run on the reader. That two at
// once count as one does no harm.
func (s *slowness) took(d time.Duration) {
	switch left := atomic.LoadUint32(&s.left); {
	case d > quickTime:
		s.wasSlow()
	case left > 0:
		atomic.CompareAndSwapUint32(&s.left, left, left-1)
	}
}

// reading is the state of the reader's role of one connection. The lowest bit
// is set while the reader is busy: in a handler or in a write. The bits above
// it count these times, and inputs, so that one is told from the next.
//
// The role changes hands by one compare-and-swap, which either the reader wins
// (leave) or the one that takes over (take). What the reader wrote before enter
// is visible to who takes over; afterwards it must not touch what belongs to
// the role.
type reading struct{ state atomic.Uint64 }

// enter makes the caller, who has the role, busy.
func (r *reading) enter() (busy uint64) {
	busy = (r.state.Load()>>1+1)<<1 | 1
	r.state.Store(busy)
	return busy
}

// moved notes that there was input, for who looks what there is to do. The caller
// has the role, and is not busy.
func (r *reading) moved() { r.state.Store(r.state.Load() + 2) }

// leave ends what enter began, and reports whether the role is still the
// caller's.
func (r *reading) leave(busy uint64) bool { return r.state.CompareAndSwap(busy, busy&^1) }

// take takes the role from a reader that has been busy ever since state was
// observed.
func (r *reading) take(observed uint64) bool {
	return observed&1 == 1 && r.state.CompareAndSwap(observed, observed+1)
}

// awaitFork waits until who took the reading over has made known the call that
// runs here, and copied what it needs.
func (c *conn) awaitFork() {
	c.forking.Lock()
	//lint:ignore SA2001 the lock is taken only to wait for who holds it
	c.forking.Unlock()
}

// letGo frees what the reader held before it lost its role.
func (c *conn) letGo(rd *reader) {
	c.awaitFork()
	rd.frames.release()
}

// sweep takes the reading over if the reader has been busy with the same thing
// since the last sweep. It reports whether the reader had something to do since
// then, and was stuck.
func (c *conn) sweep() (active, stuck bool) {
	observed := c.reading.state.Load()
	if observed != c.observed {
		c.observed = observed
		return true, false
	}
	if observed&1 == 0 {
		c.armIdle()
		c.lookFor(observed) // may set another
		return false, false
	}
	return true, c.takeOver(observed)
}

// takeOver starts another goroutine that reads on, if the reader is still busy
// with what was observed, and reports whether it was.
func (c *conn) takeOver(observed uint64) bool {
	c.forking.Lock()
	defer c.forking.Unlock()
	if !c.reading.take(observed) {
		return false
	}
	running := c.rd.running
	rd := c.rd.fork()
	c.rd = rd
	c.billRest(&rd.frames)
	if running != nil && !running.registered {
		c.adopt(running)
	}
	go func() {
		if running != nil {
			c.catchUp(running)
			c.armTimeout(running)
		}
		if c.flushAsReader(rd) != nil {
			c.letGo(rd)
			return
		}
		c.run()
	}()
	return true
}

// adopt makes a call known that the reader began and that others must now find.
func (c *conn) adopt(cl *call) {
	cl.id = bytes.Clone(cl.id)
	cl.method.slowness.wasSlow()
	c.mu.Lock()
	defer c.mu.Unlock()
	cl.begun = true
	c.addLocked(cl)
}

// catchUp does to a call that was just adopted what it has missed: the end of
// its client, or of the server.
func (c *conn) catchUp(cl *call) {
	c.mu.Lock()
	gone, cut, closed, cause := c.gone, c.cut, c.closed, c.cause
	c.mu.Unlock()
	switch {
	case closed && cause != nil:
		c.endAborted(cl, cause)
	case cut:
		c.cutOff(cl, ExecutedUnknown)
	case (gone || closed) && cl.endsWithPeer():
		c.endWithPeer(cl)
	}
}

// fork returns the state for who takes the reading over. The old one keeps its
// buffer for the handler that runs on it.
func (rd *reader) fork() *reader {
	next := *rd
	next.frames = rd.frames.fork()
	next.running, next.contexts, next.spare = nil, nil, nil
	rd.out, rd.used, rd.items, rd.front, rd.turn, rd.lease = nil, 0, nil, behind, nil, false
	return &next
}
