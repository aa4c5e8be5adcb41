package rpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"time"

	"github.com/sirupsen/logrus"
)

// Kept is a connection that one server has left open for the next to go on with.
type Kept struct {
	// Conn is open, without deadlines, and belongs to who holds it.
	Conn net.Conn
	// Peer is who is at its other end, as the first server found it.
	Peer *Peer
	// Input is what was read and not handled: whole messages, a part of one, or
	// nothing.
	Input []byte
}

var errHandover = errors.New("the connection is handed over")

// Handover is Shutdown for a server whose connections another one goes on with,
// by Adopt, in this process or in the next. It stops accepting and reading: what
// has not been read stays in the socket, and what has been read without being
// handled is returned, so no call is refused. It ends streams with
// CodeShuttingDown, waits for the calls that run or are queued, writes every
// reply, and returns the connections, which nothing refers to any more, in the
// order in which they got their places: should the next server have fewer, the
// first to come keep theirs.
//
// When ctx ends first, the calls that are left are cut off as by Shutdown, and
// the context's error is returned together with the connections. Those to whom not
// every reply could be written are closed. So are those whose input would bring
// the sum of all Input beyond maxInput bytes: they are told CodeShuttingDown
// (executed "no").
//
// After Shutdown, Close, or another Handover it only waits as Shutdown does.
func (s *Server) Handover(ctx context.Context, maxInput int) ([]Kept, error) {
	s.init()
	if !s.beginHandover(maxInput) {
		return nil, s.Shutdown(ctx)
	}
	for _, g := range s.adm.admitRoom() {
		g.ready(nil)
	}
	for _, c := range s.snapshot() {
		c.wake()
		c.endStreams()
	}
	_ = s.await(ctx, (*conn).stoppedReading) // past the end of ctx the calls are cut off
	quiet := s.adm.drain()
	for _, c := range s.snapshot() {
		c.endStreams() // those that the rest of a batch began
	}
	select {
	case <-quiet:
	case <-ctx.Done():
		s.cutOff()
	case <-s.done:
	}
	flush, cancel := ctx, context.CancelFunc(func() {})
	if ctx.Err() != nil {
		flush, cancel = context.WithTimeout(context.WithoutCancel(ctx), cutOffGrace)
	}
	_ = s.await(flush, (*conn).settled) // those to whom that is too short are closed
	cancel()
	var kept []Kept
	for _, c := range s.inOrder() {
		if k, ok := c.handOff(); ok {
			kept = append(kept, k)
		} else if !c.ended() {
			c.complain(logrus.WarnLevel, nil, "closing: it was not ready to be handed over in time")
		}
	}
	_ = s.Close()
	return kept, ctx.Err()
}

// beginHandover ends the accepting; false if the server ends already.
func (s *Server) beginHandover(maxInput int) bool {
	s.mu.Lock()
	if s.draining || s.pausing {
		s.mu.Unlock()
		return false
	}
	s.keepable.Store(int64(maxInput))
	s.handing.Store(true)
	close(s.handover)
	s.mu.Unlock()
	s.stopAccepting()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.listeners) > 0 { // one may just be accepting
		s.changed.Wait()
	}
	return true
}

// await waits until done is true of every connection, or the server is closed.
func (s *Server) await(ctx context.Context, done func(*conn) bool) error {
	for {
		all := true
		for _, c := range s.snapshot() {
			all = all && done(c)
		}
		if all {
			return nil
		}
		select {
		case <-s.connGone:
		case <-s.done:
			return ErrServerClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mustPark reports whether the reader has to leave what comes next to the next
// server.
func (c *conn) mustPark() bool { return c.srv.handing.Load() && !c.guest.probe }

// wake makes a reader that waits for input look whether it must park.
func (c *conn) wake() {
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only for a closed connection
}

// park is the end of the reader's role where another server goes on. Calls in
// flight are still answered.
func (c *conn) park(rd *reader) {
	c.stepBack(rd)
	input := bytes.Clone(rd.frames.rest())
	if c.srv.keepable.Add(-int64(len(input))) < 0 {
		c.srv.keepable.Add(int64(len(input)))
		c.log().WithField("input_bytes", len(input)).Warn("closing: too much unhandled input to hand over")
		c.endReading(rd, errDraining)
		return
	}
	rd.frames.release()
	c.count(rd)
	c.mu.Lock()
	c.handOverLocked(rd)
	c.parked, c.rest = true, input
	c.settle()
	c.flush()
}

func (c *conn) stoppedReading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parked || c.readDone || c.closed
}

// settled reports whether nothing runs on the connection, nor is left to be
// written.
func (c *conn) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || c.parked && c.drainedLocked()
}

// handOff takes the socket from the connection, which ends without closing it;
// false if it cannot be gone on with.
func (c *conn) handOff() (Kept, bool) {
	c.mu.Lock()
	if c.closed || c.gone || !c.parked || !c.drainedLocked() {
		c.mu.Unlock()
		return Kept{}, false
	}
	c.closed = true
	close(c.closing)
	kept := Kept{Conn: c.nc, Peer: c.peer, Input: c.rest}
	c.settle()
	if c.sendBuffer.usual != 0 {
		_ = c.raw.Control(c.resetSendBuffer) // fails only for a closed connection
	}
	_ = c.nc.SetDeadline(time.Time{}) // fails only for a closed connection
	return kept, true
}

// Adopt goes on with a connection that Handover has kept: its input first. It
// takes a place as one that l accepts would, without asking Identify. It may be
// called before or while the server serves; the server owns the connection from
// then on.
func (s *Server) Adopt(k Kept) {
	s.init()
	s.receive(arrival{Kept: k, adopted: true})
}
