package rpc

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Serve accepts connections from l and serves them until Shutdown, Close or
// ShutdownIfIdle, and then returns ErrServerClosed. It may be called for
// several listeners. A failure to accept that may pass (EMFILE, say) is logged
// at most once a minute and tried again after 5 ms, doubled up to 1 s; any other
// is returned.
// The server closes l; it never unlinks anything.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	if s.invalid != nil {
		_ = l.Close()
		return s.invalid
	}
	if !s.track(l) {
		_ = l.Close()
		return ErrServerClosed
	}
	defer s.untrack(l)
	var pause time.Duration
	var logged time.Time
	var pace pace
	for {
		nc, err := s.accept(l)
		switch {
		case err == nil:
			pause = 0
			s.accepted(l, nc)
			if s.sweeper.crowded.Load() {
				if ahead := pace.step(time.Now()); ahead >= paceRest {
					s.rest(ahead)
				}
			}
		case err == ErrServerClosed:
			return err
		case lasting(err):
			return fmt.Errorf("rpc: accept on %s: %w", l.Addr(), err)
		default:
			if now := time.Now(); now.Sub(logged) >= acceptLogInterval {
				logged = now
				s.logger().WithError(err).Error("accept fails; trying again")
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.rest(pause)
		}
	}
}

// rest waits for d, or until the server ends.
func (s *Server) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.done:
	}
}

// acceptLogInterval is how often it is logged that accept fails. Where clients
// come and go at the limit of file descriptors it fails and succeeds in turns.
const acceptLogInterval = time.Minute

// lasting tells failures of accept(2) that no waiting will cure.
func lasting(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) ||
		errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, syscall.EOPNOTSUPP)
}

// accept waits for a connection, for room to hold one, and while the server is
// looking whether it is idle.
func (s *Server) accept(l net.Listener) (net.Conn, error) {
	for {
		if !s.mayAccept() {
			return nil, ErrServerClosed
		}
		nc, err := l.Accept()
		if err == nil {
			return nc, nil
		}
		s.mu.Lock()
		pausing, over := s.pausing, s.draining
		s.mu.Unlock()
		if over {
			return nil, ErrServerClosed
		}
		if !pausing || !isTimeout(err) {
			return nil, err
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// mayAccept blocks while the accept loops are to stand still; false at the end.
func (s *Server) mayAccept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parked++
	s.changed.Broadcast()
	for !s.draining && (s.pausing || !s.adm.mayAccept()) {
		s.changed.Wait()
	}
	s.parked--
	return !s.draining
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	_ = l.Close()
	s.changed.Broadcast()
}

// accepted takes a connection in.
func (s *Server) accepted(l net.Listener, nc net.Conn) {
	peer, err := PeerOf(nc)
	if err == nil {
		if refusal := s.adm.turnAway(peer); refusal != nil {
			s.refuseConn(nc, peer, refusal)
			return
		}
	}
	if err == nil && s.Identify != nil {
		err = s.Identify(l, nc, peer)
	}
	if err != nil {
		s.logger().WithError(err).Error("connection closed: it is not known who is at its other end")
		_ = nc.Close()
		return
	}
	s.receive(arrival{Kept: Kept{Conn: nc, Peer: peer}})
}

// arrival is a connection on its way in.
type arrival struct {
	Kept
	adopted bool
}

// receive takes in a connection whose peer is known.
func (s *Server) receive(a arrival) {
	g := &guest{peer: a.Peer}
	g.ready = func(refusal *Error) { s.admitted(a, g, refusal) }
	served, refusal, evicted := s.adm.enter(g)
	if evicted != nil {
		evicted.ready(s.adm.roomRefusal())
	}
	switch {
	case served:
		g.ready(nil)
	case refusal != nil:
		g.ready(refusal)
	case evicted != g:
		// Nobody stops this timer: giveUp tells whether g still waits.
		time.AfterFunc(s.adm.limits.Load().ConnectionWaitTimeout, func() {
			if s.adm.giveUp(g) {
				g.ready(s.adm.roomRefusal())
			}
		})
	}
}

// admitted is the end of a connection's way in.
func (s *Server) admitted(a arrival, g *guest, refusal *Error) {
	switch {
	case refusal != nil && a.adopted: // replies that are not read may be in the way
		go s.refuseConn(a.Conn, g.peer, refusal)
		return
	case refusal != nil:
		s.refuseConn(a.Conn, g.peer, refusal)
		return
	}
	s.mu.Lock()
	s.lastConn++
	c := newConn(s, a.Conn, g, s.lastConn)
	c.resume(a.Input)
	s.conns[c] = struct{}{}
	draining, closed := s.draining, s.closed
	s.mu.Unlock()
	s.emitConn(EventConnectionOpened, g.peer)
	if closed {
		c.abort(ErrServerClosed)
	} else if draining && !s.handing.Load() {
		c.finish() // Shutdown may not have seen it
	}
	go c.run()
}

func (s *Server) refuseConn(nc net.Conn, peer *Peer, refusal *Error) {
	writeOnce(nc, errorReply(nil, refusal))
	if s.watchers.active() {
		s.watchers.emit(Event{Kind: EventRefusal, Time: time.Now(), Peer: peer, Code: refusal.Code, Reason: refusal.Data.(*ErrorData).Reason})
	}
}
