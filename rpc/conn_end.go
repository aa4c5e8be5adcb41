package rpc

import (
	"errors"
	"io"
	"time"
)

// endReading is the end of the reader's role. Calls in flight are still
// answered, unless the peer has gone.
func (c *conn) endReading(rd *reader, why error) {
	c.stepBack(rd)
	rd.frames.release()
	gone := false
	switch {
	case errors.Is(why, io.EOF):
		// Only half of the connection may have ended: printf … | socat - UNIX:…
		gone = c.hungUp() || (c.raw == nil && !c.finishing.Load())
	case why == errTooLarge:
		c.refuse(rd, nil, nil, c.srv.adm.messageTooLarge())
		c.closeRead()
	case why == errFrameTimeout:
		c.refuse(rd, nil, nil, c.srv.adm.frameTimeout())
		c.closeRead()
	case why == errNoMemory:
		c.refuse(rd, nil, nil, c.srv.adm.bufferTimeout())
		c.closeRead()
	case why == errDraining:
		c.refuse(rd, nil, nil, c.srv.adm.shuttingDown(ExecutedNo))
		c.closeRead()
	case why == errIdle:
		c.log().Debug("closing: idle")
	default:
		gone = true
	}
	if len(rd.items) > 0 { // will never be started
		c.abandonBatch(rd.batch, len(rd.items))
		rd.items = nil
	}
	c.count(rd)
	c.mu.Lock()
	c.handOverLocked(rd)
	c.readDone = true
	c.settle()
	if gone {
		c.peerGone()
	}
	c.flush()
	c.watchHangup()
}

// closeRead makes the peer's further writes fail, where the kernel can do that.
func (c *conn) closeRead() {
	if cr, ok := c.nc.(interface{ CloseRead() error }); ok {
		_ = cr.CloseRead() // fails if the connection has ended, which is what is wanted
	}
}

// watchHangup waits, after the end of input, until the connection is closed or
// the peer has gone.
func (c *conn) watchHangup() {
	if c.raw == nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Time{}) // fails only for a closed connection
	if err := c.raw.Read(polledHangup); err == nil {
		c.peerGone()
	}
}

// finish asks the reader to end: what has arrived is still answered.
func (c *conn) finish() {
	c.finishing.Store(true)
	if c.raw != nil {
		c.closeRead()
		return
	}
	_ = c.nc.SetReadDeadline(time.Now()) // fails only for a closed connection
}

// peerGone is called when nobody is there to read replies. Calls that do not
// mind run on; streams and those that say so end.
func (c *conn) peerGone() {
	c.mu.Lock()
	if c.gone {
		c.settle()
		return
	}
	c.gone = true
	c.discardLocked()
	var ending []*call
	for _, cl := range c.calls {
		if cl.endsWithPeer() {
			ending = append(ending, cl)
		}
	}
	c.settle()
	for _, cl := range ending {
		c.endWithPeer(cl)
	}
}

// endWithPeer ends a call that is pointless without its client.
func (c *conn) endWithPeer(cl *call) {
	executed := ExecutedUnknown
	if c.withdraw(cl) {
		executed = ExecutedNo
	}
	refusal := c.srv.adm.cancelled(executed)
	c.answer(cl, nil, refusal, nil)
	cl.end(refusal)
}

// withdraw takes a call out of the queue; false if it is not there any more.
func (c *conn) withdraw(cl *call) bool {
	withdrawn, next := c.srv.adm.withdraw(cl)
	if next != nil {
		next.start()
	}
	if withdrawn {
		cl.discard()
	}
	return withdrawn
}

// discardLocked drops all output.
func (c *conn) discardLocked() {
	c.freePlacesLocked(c.out.places)
	for _, s := range c.ready {
		if s.final != nil {
			c.freePlacesLocked(1)
		}
		s.discardLocked()
	}
	c.ready = nil
	c.unchargeOutput(c.out.charged)
	c.out.free()
}

func (c *conn) freePlacesLocked(n int) {
	if n > 0 {
		c.taken.Add(-int32(n))
		c.signalRoom()
	}
}

func (c *conn) signalRoom() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// settle is called with mu held, after every change that may have been the last
// thing the connection waited for, and releases mu.
func (c *conn) settle() {
	drained := c.drainedLocked()
	closeNow := !c.closed && (c.readDone && (c.gone || drained) || c.parked && c.gone)
	if closeNow {
		c.closeLocked()
	}
	stopped := c.readDone || c.parked
	leaveNow := c.closed && stopped && c.taken.Load() == 0 && !c.writing && !c.left
	if leaveNow {
		c.left = true
	}
	c.mu.Unlock()
	if leaveNow {
		c.srv.connLeft(c)
	}
	if stopped {
		c.srv.signalConns()
	}
}

// drainedLocked reports whether nothing runs, and nothing is left to be written.
func (c *conn) drainedLocked() bool {
	return c.taken.Load() == 0 && c.out.empty() && len(c.ready) == 0 && !c.writing
}

// closeLocked closes the socket. What is not written is lost.
func (c *conn) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	c.discardLocked()
	close(c.closing)
	_ = c.nc.Close() // the kernel releases the socket whatever it says
}

// abort closes the connection at once and ends every handler of it.
func (c *conn) abort(cause error) {
	c.aborted.Store(true)
	c.mu.Lock()
	c.cause = cause
	c.closeLocked()
	calls := append([]*call(nil), c.calls...)
	c.settle()
	for _, cl := range calls {
		c.endAborted(cl, cause)
	}
	c.takeOver(c.reading.state.Load()) // what the reader runs must end, too
}

func (c *conn) endAborted(cl *call, cause error) {
	c.withdraw(cl)
	c.answer(cl, nil, c.srv.adm.shuttingDown(ExecutedUnknown), nil)
	cl.end(cause)
}
