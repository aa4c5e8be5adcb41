package rpc

import "golang.org/x/sys/unix"

// A client that makes one call after the other has sent nothing more when its reply
// is ready. To read once more before waiting finds nothing, and is one of the three
// system calls that such a call takes. So its reader writes the reply when it has begun
// to wait, in RawConn.Read: input that comes from then on ends the wait, and the next
// call comes after the reply.
//
// But the runtime has forgotten by then what it was told of input before. Where the
// client has sent something since it was last read, all the same, the reader waits blind.
// The kernel tells of it again when the client reads its reply and little else of its
// output is unread, since the socket can take more then (epoll(7), EPOLLET). For all
// others there are the sweeps: they look at everybody who waits blind, once.

// waryFor is how many inputs with one call each prove that a client makes one call
// after the other, after it was seen not to.
const waryFor = 16

// lateReply is how large a reply that is written late may be, in bytes: it is written
// with the lock held.
const lateReply = 4 << 10

// noteInput notes how the last input was handled, before the reader waits for more.
func (rd *reader) noteInput() {
	switch n := rd.sequence - rd.counted; {
	case n > 1:
		rd.wary = waryFor
	case n == 1 && rd.wary > 0:
		rd.wary--
	}
}

// repliesLate reports whether the replies can wait until the reader waits for input. In
// a connection that was adopted, and not read yet, there may well be more.
func (c *conn) repliesLate(rd *reader) bool {
	return rd.places == 1 && rd.used <= lateReply && !rd.dirty && rd.wary == 0 &&
		!rd.frames.partial() && !rd.frames.full && 0 < rd.n && rd.n < maxRead && c.raw != nil
}

// writeLate writes the reply, if nothing else is to be written and the socket takes it
// at once, and reports whether the reader may wait. It must not wait for the lock:
// whoever closes the socket waits for RawConn.Read, and has it.
func (c *conn) writeLate(rd *reader, fd int) (written bool) {
	if !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	if c.writing || c.gone || c.closed || !c.out.empty() || len(c.ready) > 0 {
		return false
	}
	n, err := write(fd, rd.out.b[:rd.used], c.srv.sweeper.many.Load())
	if err != nil {
		return false // who tries again finds the same
	}
	if c.wroteLocked(rd, n); !c.out.empty() {
		rd.dirty = true
		return false
	}
	if c.finishing.Load() { // the end of input may have come before
		return false
	}
	rd.backlog = 0
	c.blind.Store(c.reading.state.Load() | 1)
	c.srv.sweeper.busy()
	return true
}

// lookFor looks for input of a reader that has waited blind since observed, and has it
// read again if there is any.
func (c *conn) lookFor(observed uint64) {
	if blind := observed | 1; c.blind.Load() != blind || !c.blind.CompareAndSwap(blind, 0) {
		return
	}
	found := false
	_ = c.raw.Control(func(fd uintptr) { found = polled(fd, unix.POLLIN) }) // fails for a closed connection
	if !found {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readDone && !c.parked && !c.closed { // then the deadline is another's
		c.wake()
	}
}
