package rpc

import (
	"errors"
	"net"
	"os"
	"time"

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
	if c.writing {
		c.mu.Unlock()
		return
	}
	c.writing = true
	for {
		taken := c.gatherLocked()
		if len(taken.chunks) == 0 {
			break
		}
		c.mu.Unlock()
		err := c.write(taken.chunks)
		places := taken.places
		taken.free()
		if err != nil {
			c.writeFailed(err)
		}
		c.mu.Lock()
		c.active = time.Now()
		c.freePlacesLocked(places)
	}
	c.writing = false
	c.settle()
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
func (c *conn) flushAsReader() error {
	c.mu.Lock()
	nothing := c.writing || (c.out.empty() && len(c.ready) == 0)
	c.mu.Unlock()
	if nothing {
		return nil
	}
	busy := c.reading.enter()
	c.srv.sweeper.busy()
	c.flush()
	if !c.reading.leave(busy) {
		return errTakenOver
	}
	return nil
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
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.log().WithField("timeout", c.srv.adm.limits.WriteTimeout).Warn("closing: the peer does not read its replies")
		c.mu.Lock()
		c.closeLocked()
		c.settle()
	}
	c.peerGone()
}

// write writes all chunks. A socket that can take them at once does, without a
// deadline's costs.
func (c *conn) write(chunks []chunk) error {
	done := 0
	if c.raw != nil {
		var err error
		if done, err = c.writeNow(chunks); err != nil {
			return err
		}
	}
	slow := false
	for _, ch := range chunks {
		if done >= len(ch.b) {
			done -= len(ch.b)
			continue
		}
		rest := ch.b[done:]
		done, slow = 0, true
		for len(rest) > 0 {
			n := min(len(rest), writePiece)
			if err := c.nc.SetWriteDeadline(time.Now().Add(c.srv.adm.limits.WriteTimeout)); err != nil {
				return err
			}
			if _, err := c.nc.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	if slow {
		return c.nc.SetWriteDeadline(time.Time{})
	}
	return nil
}

// writeNow makes one write that does not wait, and returns how much it took.
func (c *conn) writeNow(chunks []chunk) (n int, err error) {
	werr := c.raw.Write(func(fd uintptr) bool {
		for {
			if len(chunks) == 1 {
				n, err = unix.Write(int(fd), chunks[0].b)
			} else {
				iov := make([][]byte, 0, min(len(chunks), maxIovecs))
				for _, ch := range chunks[:cap(iov)] {
					iov = append(iov, ch.b)
				}
				n, err = unix.Writev(int(fd), iov)
			}
			if err != unix.EINTR {
				return true
			}
		}
	})
	if werr != nil {
		return 0, werr
	}
	if err == unix.EAGAIN {
		return 0, nil
	}
	return max(n, 0), err
}

// writeOnce writes a refusal to a connection that is not served, and closes it.
// The empty buffer of a socket takes it at once; a peer inside the process that
// does not read delays the next accept by this much.
func writeOnce(nc net.Conn, frame []byte) {
	_ = nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = nc.Write(append(frame, '\n')) // who does not read it learns it from the close
	_ = nc.Close()
}
