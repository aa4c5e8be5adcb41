package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// nextFrame returns the next frame. Before it waits for input it writes the
// replies to what it has read so far, or, where repliesLate, as it waits.
func (c *conn) nextFrame(rd *reader) ([]byte, error) {
	for {
		frame, more, tooLarge := rd.frames.next()
		c.endLook(rd) // begun by read
		if tooLarge {
			return nil, errTooLarge
		}
		if !more {
			return frame, nil
		}
		rd.noteInput()
		if rd.late = c.repliesLate(rd); rd.late {
			c.endLease(rd)
		} else if err := c.flushAsReader(rd); err != nil {
			return nil, err
		}
		if err := c.fill(rd); err == errNotWritten {
			rd.wary = waryFor // and flush
		} else if err != nil {
			return nil, err
		}
	}
}

// fill waits for input.
func (c *conn) fill(rd *reader) error {
	rd.brisk = rd.sequence-rd.counted > 1 || c.srv.sweeper.many.Load()
	c.count(rd)
	rd.forget()
	rd.frames.max = c.limits().MaxMessageBytes
	if !rd.frames.partial() {
		rd.frames.release()
		if rd.frames.full && !c.srv.adm.ledger.pressed() { // many at once
			c.charge(freelyTaken)
			rd.frames.buf = newBuffer(freelyTaken)
			rd.frames.buf.bill(c, grant{bytes: freelyTaken})
		}
	} else if rd.frames.tooLarge() { // by a limit that was lowered meanwhile
		return errTooLarge
	} else if err := c.makeSpace(rd); err != nil {
		return err
	}
	for passed := false; ; passed = true {
		if err := c.armRead(rd, passed); err != nil {
			return err
		}
		if c.mustPark() { // after the deadline was set, which must not undo that of wake
			return errHandover
		}
		if c.finishing.Load() && c.raw == nil {
			return io.EOF
		}
		n, err := c.read(rd)
		if n > 0 {
			now := time.Now()
			rd.frames.filled(n, now)
			c.reading.moved()
			c.srv.sweeper.pass(now)
			rd.handled += int32(n / bytesATurn)
			c.shareSendBuffer()
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		rd.wary = waryFor // a sweep may have found that it waited blind
	}
}

// forget drops what the calls of one input have used one after the other.
func (rd *reader) forget() {
	rd.contexts, rd.known = nil, lookup{}
	if rd.spare != nil {
		rd.spare.freeValues()
		rd.spare.callContext = nil
	}
}

// count adds the reader's calls to those of the server.
func (c *conn) count(rd *reader) {
	if rd.sequence != rd.counted && !c.guest.probe {
		c.srv.requests.Add(rd.sequence - rd.counted)
		rd.counted = rd.sequence
	}
}

// read makes one read. On a socket it waits without a buffer.
func (c *conn) read(rd *reader) (int, error) {
	if c.raw == nil {
		c.stepBack(rd)
		return c.nc.Read(rd.frames.space())
	}
	for {
		if err := c.raw.Read(c.onRead); err != nil {
			return 0, err
		}
		if rd.late {
			rd.late = false
			return 0, errNotWritten
		}
		if !rd.again {
			break
		}
		c.queueUp(rd)
	}
	if rd.n == 0 && rd.err == nil {
		rd.err = io.EOF
	}
	return rd.n, rd.err
}

// readReady reads what is there; false means: wait until there is something. It
// must not wait itself: whoever closes the socket waits for it.
func (c *conn) readReady(fd uintptr) bool {
	rd := c.rd
	if rd.late {
		if c.writeLate(rd, int(fd)) {
			rd.late = false
			c.nothingYet(rd)
		}
		return rd.late
	}
	if c.mustQueue(rd) {
		if rd.again = polled(fd, unix.POLLIN); !rd.again {
			c.nothingYet(rd)
		}
		return rd.again
	}
	rd.again = false
	for {
		rd.n, rd.err = read(int(fd), rd.frames.space(), rd.brisk)
		switch rd.err {
		case unix.EINTR:
		case unix.EAGAIN:
			c.nothingYet(rd)
			return false
		default:
			rd.n = max(rd.n, 0)
			return true
		}
	}
}

// nothingYet comes before the reader waits for input.
func (c *conn) nothingYet(rd *reader) {
	if !rd.frames.partial() {
		rd.frames.release()
	}
	rd.handled = 0
	c.stepBack(rd)
}

// hangupPoll is how often a reader that may not read looks whether its peer is
// still there: a full connection must notice that, too.
const hangupPoll = 250 * time.Millisecond

// waitForRoom waits until the connection may start another call.
func (c *conn) waitForRoom(rd *reader) error {
	if err := c.flushAsReader(rd); err != nil {
		return err
	}
	c.count(rd)
	c.stepBack(rd)
	poll := time.NewTicker(hangupPoll)
	defer poll.Stop()
	var handover <-chan struct{}
	if len(rd.items) == 0 { // a batch is not left half done
		handover = c.srv.handover
	}
	for !c.hasRoom(rd) {
		select {
		case <-c.room:
		case <-handover:
			return errHandover
		case <-c.closing:
			return net.ErrClosed
		case <-poll.C:
			if c.hungUp() {
				c.peerGone()
			}
		}
	}
	return nil
}

// hasRoom counts only what becomes free while the reader waits: not the input
// that it has to go on with itself, nor the replies to the batch that it is in.
func (c *conn) hasRoom(rd *reader) bool {
	held := int64(0)
	if len(rd.items) == 0 {
		held = c.held.Load() - int64(rd.frames.billed())
	}
	return c.srv.adm.hasRoom(int(c.taken.Load())+rd.places, held)
}

// hungUp reports whether the peer has closed its end for both directions. Its
// unread input does not hide that.
func (c *conn) hungUp() bool {
	if c.raw == nil {
		return false
	}
	up := false
	err := c.raw.Control(func(fd uintptr) { up = polledHangup(fd) })
	return up || err != nil
}

func polledHangup(fd uintptr) bool { return polled(fd, 0) }

// polled reports whether one of events is the case, or the peer is gone.
func polled(fd uintptr, events int16) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(events|unix.POLLHUP|unix.POLLERR) != 0
}
