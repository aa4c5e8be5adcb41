package rpc

import (
	"context"
	"net"
	"time"
)

// ShutdownIfIdle ends the server if there is no connection, and reports whether
// it did. It stops accepting first and looks then: a client that connects
// meanwhile is served as ever, or waits in the kernel's backlog of the socket.
// It needs listeners that have SetDeadline, as those of package net do.
func (s *Server) ShutdownIfIdle() bool {
	s.init()
	s.mu.Lock()
	if s.draining || s.pausing {
		s.mu.Unlock()
		return false
	}
	s.pausing = true
	// A deadline in the past ends a waiting Accept; it takes no connection
	// then, even if one is pending.
	s.setAcceptDeadlinesLocked(time.Unix(1, 0))
	for s.parked < len(s.listeners) && !s.draining {
		s.changed.Wait()
	}
	idle := !s.draining && s.adm.idle()
	if idle {
		s.draining, s.closed = true, true
		close(s.done)
	} else {
		s.setAcceptDeadlinesLocked(time.Time{})
	}
	s.pausing = false
	s.changed.Broadcast()
	s.mu.Unlock()
	if idle {
		s.adm.drain()
		s.closeListeners()
	}
	return idle
}

func (s *Server) setAcceptDeadlinesLocked(t time.Time) {
	for l := range s.listeners {
		if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
			_ = d.SetDeadline(t) // fails only for a closed listener, whose loop has ended
		}
	}
}

// Shutdown ends the server without cutting anything short: it stops accepting,
// refuses new calls with CodeShuttingDown (executed "no"), ends streams with
// that code, waits for the calls that run or are queued, answers what has
// arrived meanwhile, writes every reply, and closes the connections.
//
// When ctx ends first, the calls that are left are answered CodeShuttingDown
// (executed "no" if they were queued, else "unknown") and logged with method
// and peer, their contexts end, the connections are closed, and Shutdown
// returns the context's error. A handler that does not heed its context may
// then still run.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.stopAccepting()
	quiet := s.adm.drain()
	for _, g := range s.adm.emptyRoom() {
		g.ready(s.adm.shuttingDown(ExecutedNo))
	}
	for _, c := range s.snapshot() {
		c.endStreams()
	}
	select {
	case <-quiet:
	case <-ctx.Done():
		s.cutOff()
	}
	for _, c := range s.snapshot() {
		c.finish()
	}
	if err := ctx.Err(); err != nil {
		// What was just answered still goes out, to those who read it.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutOffGrace)
		defer cancel()
		_ = s.waitForConns(grace)
		_ = s.Close()
		return err
	}
	err := s.waitForConns(ctx)
	_ = s.Close()
	return err
}

// cutOffGrace is how long the replies to calls that were cut off may take to
// leave.
const cutOffGrace = 500 * time.Millisecond

// Close ends the server at once: connections are closed, contexts end, nothing
// is answered. It does not wait for handlers.
func (s *Server) Close() error {
	s.init()
	s.stopAccepting()
	s.adm.drain()
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()
	for _, g := range s.adm.emptyRoom() {
		g.ready(s.adm.shuttingDown(ExecutedNo))
	}
	for _, c := range s.snapshot() {
		c.abort(ErrServerClosed)
	}
	return nil
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	s.draining = true
	s.changed.Broadcast()
	s.mu.Unlock()
	s.closeListeners()
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	listeners := make([]net.Listener, 0, len(s.listeners))
	for l := range s.listeners {
		listeners = append(listeners, l)
	}
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close() // it ends its accept loop; that it may be closed twice is no failure
	}
}

// cutOff answers every call that is left at the end of a drain: those that are
// queued first, before a slot becomes free for them.
func (s *Server) cutOff() {
	conns := s.snapshot()
	var running []*call
	for _, c := range conns {
		c.mu.Lock()
		c.cut = true
		calls := append([]*call(nil), c.calls...)
		c.mu.Unlock()
		for _, cl := range calls {
			if c.withdraw(cl) {
				c.cutOff(cl, ExecutedNo)
			} else {
				running = append(running, cl)
			}
		}
	}
	for _, cl := range running {
		cl.conn.cutOff(cl, ExecutedUnknown)
	}
	for _, c := range conns {
		c.flushSoon()
	}
}

func (c *conn) cutOff(cl *call, executed Executed) {
	refusal := c.srv.adm.shuttingDown(executed)
	if c.answer(cl, nil, refusal, nil) {
		c.log().WithField("method", cl.method.Name).WithField("request", cl.requestID()).
			Warn("call cut off: it did not end before the drain timeout")
	}
	cl.end(refusal)
}

// endStreams ends the streams of a connection because the server does.
func (c *conn) endStreams() {
	c.mu.Lock()
	var streams []*call
	for _, cl := range c.calls {
		if cl.stream != nil {
			streams = append(streams, cl)
		}
	}
	c.mu.Unlock()
	for _, cl := range streams {
		refusal := c.srv.adm.shuttingDown(ExecutedUnknown)
		c.answer(cl, nil, refusal, nil)
		cl.end(refusal)
	}
	if len(streams) > 0 {
		c.flushSoon()
	}
}

// waitForConns waits until every connection has ended.
func (s *Server) waitForConns(ctx context.Context) error {
	for {
		if len(s.snapshot()) == 0 {
			return nil
		}
		select {
		case <-s.connGone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
