package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// writePiece is how much output one WriteTimeout is for, in bytes.
const writePiece = 1 << 20

// gatherLimit is how many bytes of events are gathered for one write.
const gatherLimit = 64 << 10

// maxIovecs is below IOV_MAX, writev(2).
const maxIovecs = 512

// flush writes what is queued, unless another goroutine is writing, which will
// then write it.
func (c *conn) flush() {
	c.mu.Lock()
	c.flushLocked(true)
}

// flushWithoutWaiting is flush for a goroutine that must not wait for the peer:
// what the socket does not take at once is left to another.
func (c *conn) flushWithoutWaiting() {
	c.mu.Lock()
	c.flushLocked(false)
}

// flushLocked is flush with mu held, which it releases.
func (c *conn) flushLocked(wait bool) {
	if c.writing {
		c.chargeQueuedLocked()
		c.mu.Unlock()
		c.srv.relieve()
		return
	}
	c.writing = true
	c.writeQueuedLocked(wait)
}

// writeQueuedLocked writes until nothing is queued. It releases mu.
func (c *conn) writeQueuedLocked(wait bool) {
	for {
		taken := c.gatherLocked()
		if len(taken.chunks) == 0 {
			break
		}
		c.mu.Unlock()
		rest, err := c.writeNow(taken.chunks, taken.places > 1)
		if err == nil && len(rest) > 0 {
			c.chargeOutput(taken.bytes - taken.charged)
			taken.charged = taken.bytes
			c.srv.relieve()
			if !wait {
				go func() {
					c.writtenLocked(&taken, c.writeSlowly(rest))
					c.writeQueuedLocked(true)
				}()
				return
			}
			err = c.writeSlowly(rest)
		}
		c.writtenLocked(&taken, err)
	}
	c.writing = false
	c.settle()
}

// writtenLocked frees what was written. It is called without mu, and returns
// with it.
func (c *conn) writtenLocked(o *output, err error) {
	c.unchargeOutput(o.charged)
	places := o.places
	o.free()
	if err != nil {
		c.writeFailed(err)
	}
	c.mu.Lock()
	c.active = c.age()
	c.freePlacesLocked(places)
}

// chargeQueuedLocked puts on account what has to wait.
func (c *conn) chargeQueuedLocked() {
	c.chargeOutput(c.out.bytes - c.out.charged)
	c.out.charged = c.out.bytes
}

// flushSoon writes what is queued from another goroutine, for callers that must
// not wait for the peer.
func (c *conn) flushSoon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || c.flushing {
		return
	}
	c.flushing = true
	go func() {
		c.mu.Lock()
		c.flushing = false
		c.mu.Unlock()
		c.flush()
	}()
}

// flushAsReader is flush by the reader, which may lose its role meanwhile.
func (c *conn) flushAsReader(rd *reader) error {
	c.endLease(rd) // each write may wake somebody who takes the processor
	if rd.used > 0 && !rd.dirty {
		c.writeAlone(rd)
	}
	if rd.used == 0 && !rd.dirty {
		rd.backlog = 0
		return nil
	}
	rd.dirty, rd.backlog = false, 0
	c.stepBack(rd) // the peer may let us wait
	c.mu.Lock()
	c.handOverLocked(rd)
	busy := c.reading.enter()
	c.srv.sweeper.busy()
	c.flushLocked(true)
	if !c.reading.leave(busy) {
		return errTakenOver
	}
	return nil
}

// writeAlone writes the reader's replies, where nothing else is to be written,
// as far as the socket takes them at once. This is the usual case, and nobody
// else ever sees the replies.
func (c *conn) writeAlone(rd *reader) {
	if c.raw == nil {
		return
	}
	c.mu.Lock()
	if c.writing || c.gone || c.closed || !c.out.empty() || len(c.ready) > 0 {
		c.mu.Unlock()
		return
	}
	c.writing = true
	c.mu.Unlock()
	w := &c.writes
	w.one[0].b = rd.out.b[:rd.used]
	rest, err := c.writeNow(w.one[:], rd.places > 1)
	written := rd.used
	if len(rest) > 0 {
		written -= len(rest[0].b)
	}
	w.one[0].b = nil
	c.mu.Lock()
	if err == nil {
		c.wroteLocked(rd, written)
	}
	c.writing = false
	rd.dirty = !c.out.empty() || len(c.ready) > 0 // others left it to who was writing
	c.mu.Unlock()
	if err != nil {
		c.writeFailed(err)
	}
}

// wroteLocked takes n bytes that are written from the reader's replies.
func (c *conn) wroteLocked(rd *reader, n int) {
	if n < rd.used {
		c.handOverRestLocked(rd, n)
		return
	}
	rd.out.free()
	rd.out, rd.used, rd.places = nil, 0, 0
}

// handOverRestLocked is handOverLocked where n bytes of the replies are written: the
// rest goes before anything else.
//
//go:noinline
func (c *conn) handOverRestLocked(rd *reader, n int) {
	rd.used = copy(rd.out.b, rd.out.b[n:rd.used])
	behind := c.out.take()
	c.handOverLocked(rd)
	c.out.follow(behind)
}

// gatherLocked takes the replies that wait, and events of each stream in turn.
func (c *conn) gatherLocked() output {
	if c.gone || c.closed {
		c.discardLocked()
		return output{}
	}
	for len(c.ready) > 0 && c.out.n < gatherLimit && len(c.out.chunks) < maxIovecs/2 {
		s := c.ready[0]
		c.ready = c.ready[1:]
		if s.ready = s.popLocked(&c.out); s.ready {
			c.ready = append(c.ready, s)
		}
	}
	return c.out.take()
}

// readyLocked notes that a stream has something to write.
func (c *conn) readyLocked(s *Stream) {
	if !s.ready && !c.gone && !c.closed {
		s.ready = true
		c.ready = append(c.ready, s)
	}
}

func (c *conn) writeFailed(err error) {
	switch {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET),
		errors.Is(err, io.ErrClosedPipe): // of net.Pipe, also where all was written
		c.peerGone() // what it has sent before is still done
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.complain(logrus.WarnLevel, logrus.Fields{"timeout": c.limits().WriteTimeout}, "closing: the peer does not read its replies")
	case errors.Is(err, net.ErrClosed):
	default:
		c.complain(logrus.WarnLevel, logrus.Fields{"error": err}, "closing: a reply can not be written")
	}
	c.mu.Lock()
	c.closeLocked()
	c.settle()
	c.peerGone()
}

// relieve closes connections while more is held than may be: those first that
// have left most unread, of those that are stalled. While none is, it looks again
// from time to time: a peer that reads its replies is not among them.
func (s *Server) relieve() {
	if !s.adm.ledger.over() || !s.relieving.TryLock() {
		return
	}
	defer s.relieving.Unlock()
	for s.adm.ledger.over() {
		var worst *conn
		most, again := int64(copyLimit), false
		for _, c := range s.snapshot() {
			switch n := c.unread.Load(); {
			case n <= most || c.ended():
			case !c.stalled():
				again = true
			default:
				worst, most = c, n
			}
		}
		if worst == nil {
			if again && s.relieveAgain == nil {
				s.relieveAgain = time.AfterFunc(stallTime, func() {
					s.relieving.Lock()
					s.relieveAgain = nil
					s.relieving.Unlock()
					s.relieve()
				})
			}
			return
		}
		worst.complain(logrus.WarnLevel, logrus.Fields{"unread_bytes": most}, "closing: memory is short and the peer does not read its replies")
		worst.mu.Lock()
		worst.closeLocked()
		worst.settle()
		worst.peerGone()
	}
}

// stallTime is after how long a peer counts as one that does not read, if it has not
// taken a writePiece meanwhile.
const stallTime = time.Second

// stalled reports whether a write waits for a peer that does not read.
func (c *conn) stalled() bool {
	since := c.writeSince.Load()
	return since != 0 && c.age()-time.Duration(since) >= stallTime
}

// pendingWrite is one write that does not wait.
type pendingWrite struct {
	chunks []chunk
	one    [1]chunk
	brisk  bool // as of reader
	n      int  // taken by the socket
	err    error
}

// writeSlowly writes all of chunks, with a deadline for each piece.
func (c *conn) writeSlowly(chunks []chunk) error {
	defer c.writeSince.Store(0)
	for _, ch := range chunks {
		for b := ch.b; len(b) > 0; {
			n, now := min(len(b), writePiece), time.Now()
			c.writeSince.Store(int64(max(1, now.Sub(c.opened))))
			if err := c.nc.SetWriteDeadline(now.Add(c.limits().WriteTimeout)); err != nil {
				return err
			}
			if _, err := c.nc.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
	}
	return c.nc.SetWriteDeadline(time.Time{})
}

// writeNow makes one write that does not wait, without a deadline's costs, and
// returns what the socket did not take. several says that these are several replies.
func (c *conn) writeNow(chunks []chunk, several bool) (rest []chunk, err error) {
	if c.raw == nil {
		return chunks, nil
	}
	w := &c.writes
	w.chunks, w.brisk = chunks, several || c.srv.sweeper.many.Load()
	err = c.raw.Write(c.onWrite)
	w.chunks = nil
	if err == nil {
		err = w.err
	}
	if err != nil {
		return chunks, err
	}
	n := w.n
	for len(chunks) > 0 && n >= len(chunks[0].b) {
		n -= len(chunks[0].b)
		chunks = chunks[1:]
	}
	if len(chunks) > 0 {
		chunks[0].b = chunks[0].b[n:]
	}
	return chunks, nil
}

// writeReady makes the write of writeNow; it never asks to be called again.
func (c *conn) writeReady(fd uintptr) bool {
	w := &c.writes
	if len(w.chunks) > 1 && len(w.chunks[1].b) > copyLimit {
		c.enlargeSendBuffer(int(fd))
	}
	for {
		if len(w.chunks) == 1 {
			w.n, w.err = write(int(fd), w.chunks[0].b, w.brisk)
		} else {
			iov := make([][]byte, 0, min(len(w.chunks), maxIovecs))
			for _, ch := range w.chunks[:cap(iov)] {
				iov = append(iov, ch.b)
			}
			w.n, w.err = unix.Writev(int(fd), iov)
		}
		switch w.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			w.n, w.err = 0, nil
		default:
			w.n = max(w.n, 0)
		}
		return true
	}
}

// writeOnce writes a refusal to a connection that is not served, and closes it.
// The empty buffer of a socket takes it at once; it may take this long where an
// adopted connection's is full, or the peer is inside the process, and does not
// read.
func writeOnce(nc net.Conn, frame []byte) {
	_ = nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = nc.Write(append(frame, '\n')) // who does not read it learns it from the close
	_ = nc.Close()
}
