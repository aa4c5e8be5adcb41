package rpc

import (
	"runtime"
	"sync"
	"time"
)

// crowd lets a few readers go on at a time, while more goroutines are ready to run
// than there are processors, and connections are of several uids. The runtime takes
// them in the order in which they became ready, and looks for input on idle
// connections when none is left, or 100 times a second: hundreds of connections of
// one user with something to do at every moment stood before the one small call of
// another.
//
// In Server.front a uid of which one connection only has something to do is let
// through. Where more have, their readers queue up for places, which the uids get in
// turn. There is one less than processors: the last one is for whoever comes, on
// a thread that does not wait in the kernel as one that has used up its time slice
// does. See threads.
//
// Who waits for input, for memory, or for its peer to read is not in front: nobody
// waits there for longer than others use a processor. A handler that is slow loses
// its reader (takeover.go), which stays in front without it.
type crowd struct {
	mu     sync.Mutex
	places int     // that are free
	queue  []*rank // in which readers wait, the next first
	strict bool    // nobody passes because it is alone
	ended  bool    // nobody waits any more
}

// rank is the readers of one account; guarded by crowd.mu.
type rank struct {
	front   int             // how many are in front
	waiting []chan struct{} // of those who wait for a place, the next first
}

// position is where a reader is.
type position uint8

const (
	behind position = iota
	alone           // in front, as the only one of its rank, while none waited
	placed          // in front, in one of the places
)

// enter lets a reader of r go in front, or has it wait for a place: it gets that
// as soon as there is something in turn.
func (w *crowd) enter(r *rank, turn chan struct{}) position {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := behind
	switch {
	case w.ended, !w.strict && r.front == 0 && len(r.waiting) == 0:
		at = alone
	case w.places > 0:
		at = placed
		w.places--
	default:
		if r.waiting = append(r.waiting, turn); len(r.waiting) == 1 {
			w.queue = append(w.queue, r)
		}
		return behind
	}
	r.front++
	return at
}

// pass is enter for a reader that waits for its place.
func (w *crowd) pass(r *rank, rd *reader) (at position, waited bool) {
	if rd.turn == nil {
		rd.turn = make(chan struct{}, 1)
	}
	if at = w.enter(r, rd.turn); at == behind {
		rd.queued = true
		<-rd.turn
		rd.queued = false
		return placed, true
	}
	return at, false
}

// leave is the end of being in front, where a reader of r was.
func (w *crowd) leave(r *rank, at position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.front--
	switch {
	case at == alone:
	case len(w.queue) == 0:
		w.places++
	default:
		w.admitLocked()
	}
}

// admitLocked gives a place to the next in the queue.
func (w *crowd) admitLocked() {
	r := w.queue[0]
	w.queue = w.queue[1:]
	r.front++
	r.waiting[0] <- struct{}{}
	if r.waiting = r.waiting[1:]; len(r.waiting) > 0 {
		w.queue = append(w.queue, r)
	}
}

// end lets everybody through from then on. A server that has ended does not look
// any more for handlers that keep a reader, and its place, for ever.
func (w *crowd) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for len(w.queue) > 0 {
		w.admitLocked()
	}
}

// queued reports whether anybody waits for a place.
func (w *crowd) queued() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) > 0
}

// stepForward waits until the reader is in front, and reports whether it had to.
func (c *conn) stepForward(rd *reader) (waited bool) {
	if rd.front != behind {
		return false
	}
	c.endLease(rd)
	rd.front, waited = c.srv.front.pass(&c.guest.account.front, rd)
	return waited
}

// stepBack comes before whatever may let the reader wait, other than a handler: it
// lets the next go in front, and gives its slot and its place of looking back.
func (c *conn) stepBack(rd *reader) {
	c.endLease(rd)
	c.endLook(rd)
	if rd.front != behind {
		c.srv.front.leave(&c.guest.account.front, rd.front)
		rd.front = behind
	}
}

// takeTurn comes before a handler.
func (c *conn) takeTurn(rd *reader) {
	if c.srv.crowded() {
		c.stepForward(rd)
	}
}

// endTurn lets others have the processor.
func (c *conn) endTurn(rd *reader) error {
	rd.handled = 0
	crowded := c.srv.crowded()
	if crowded {
		if err := c.flushAsReader(rd); err != nil { // a round may take long
			return err
		}
		if c.raw != nil {
			c.srv.lookout.look()
		}
	}
	c.stepBack(rd)
	if !crowded || !c.stepForward(rd) {
		runtime.Gosched()
	}
	return nil
}

// crowded reports whether a crowd has to queue up.
func (s *Server) crowded() bool { return s.sweeper.crowded.Load() && s.adm.mixed.Load() }

// crowdedFor is how long a crowd is taken to last after it was last seen, in the
// queue or by looks that come late. What is done about it makes it look as if it had
// gone.
const crowdedFor = 200 * time.Millisecond

// pace is that of the accept loop in a crowd: clients that come and go as fast as
// they can must not keep the processors from those that are there. They wait in
// the kernel's backlog. It holds for the mean: a loop that got no processor for a
// while may catch up.
type pace struct{ next time.Time }

const (
	paceInterval = 500 * time.Microsecond // between two connections
	paceCatchUp  = 100 * time.Millisecond // at most
	paceRest     = time.Millisecond       // at least: shorter ones are none
)

// step notes a connection that was accepted now, and returns how long the next
// one has to wait.
func (p *pace) step(now time.Time) (ahead time.Duration) {
	if late := now.Add(-paceCatchUp); p.next.Before(late) {
		p.next = late
	}
	p.next = p.next.Add(paceInterval)
	return p.next.Sub(now)
}
