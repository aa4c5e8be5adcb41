package rpc

import (
	"bytes"
	"net"
	"time"
)

// makeSpace gets a larger buffer where an incomplete frame needs one.
func (c *conn) makeSpace(rd *reader) error {
	size := rd.frames.wanted(!c.srv.adm.ledger.pressed())
	if size == 0 {
		return nil
	}
	if size <= freelyTaken {
		c.charge(size)
		rd.frames.grow(newBuffer(size)).bill(c, grant{bytes: size})
		return nil
	}
	g, wait := c.srv.adm.reserve(c, size)
	if wait != nil {
		c.stepBack(rd)
		var err error
		if g, err = c.awaitBytes(wait); err != nil {
			return err
		}
		if g.fromReserve {
			size = rd.frames.largest()
		}
	}
	c.held.Add(int64(g.bytes)) // its share of the account is taken already
	c.beginLook(rd, size)
	rd.frames.grow(newBuffer(size)).bill(c, g)
	c.endLook(rd)
	return nil
}

// awaitBytes waits for a reservation.
func (c *conn) awaitBytes(wait *reservation) (grant, error) {
	timeout := time.NewTimer(c.limits().QueueTimeout)
	defer timeout.Stop()
	poll := time.NewTicker(hangupPoll)
	defer poll.Stop()
	var err error
	for err == nil {
		select {
		case g, ok := <-wait.granted:
			if !ok {
				return g, errDraining
			}
			return g, nil
		case <-timeout.C:
			err = errNoMemory
		case <-c.srv.handover:
			err = errHandover
		case <-c.closing:
			err = net.ErrClosed
		case <-poll.C:
			if c.hungUp() {
				err = net.ErrClosed
			}
		}
	}
	if !c.srv.adm.withdrawReservation(wait) {
		if g, ok := <-wait.granted; ok {
			c.srv.adm.giveBack(c.guest.account, g)
		}
	}
	return grant{}, err
}

// charge counts bytes that the connection holds from now on.
func (c *conn) charge(n int) {
	c.held.Add(int64(n))
	c.srv.adm.ledger.add(c.guest.account, n)
}

// chargeOutput is charge for what waits to be written.
func (c *conn) chargeOutput(n int) {
	c.unread.Add(int64(n))
	c.charge(n)
}

func (c *conn) unchargeOutput(n int) {
	if n > 0 {
		c.unread.Add(-int64(n))
		c.giveBack(grant{bytes: n})
	}
}

// giveBack is the end of what charge or a reservation began.
func (c *conn) giveBack(g grant) {
	c.held.Add(-int64(g.bytes))
	c.srv.adm.giveBack(c.guest.account, g)
	c.signalRoom()
}

// own makes a call independent of the read buffer.
func (c *conn) own(rd *reader, cl *call) {
	cl.freeValues() // of the call before
	switch {
	case cl.batch != nil: // has its own copy
	case rd.frames.last > sharedFrame:
		cl.buf = c.detach(rd)
	default:
		cl.req.Params = bytes.Clone(cl.req.Params)
		cl.charged = len(cl.req.Params)
		c.charge(cl.charged)
	}
}

// detach takes the buffer of the last frame from the reader.
func (c *conn) detach(rd *reader) *buffer {
	old := rd.frames.detach()
	c.billRest(&rd.frames)
	return old
}

// billRest charges the buffer that what follows a frame was copied to.
func (c *conn) billRest(f *frameReader) {
	if f.buf != nil && f.buf.conn == nil && len(f.buf.b) > smallestBuffer+bufferSlack {
		c.charge(len(f.buf.b))
		f.buf.bill(c, grant{bytes: len(f.buf.b)})
	}
}
