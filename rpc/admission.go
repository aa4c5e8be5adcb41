package rpc

import (
	"bytes"
	"container/list"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
)

// waitingRoom is how many connections beyond MaxConnections are held accepted,
// be it to wait for a place or because they passed through the room.
const waitingRoom = 8

// admission is the one object that says what is let in: it owns every count
// that a bound is on, checks every bound, and makes every refusal. It knows
// nothing of sockets and never blocks, never calls out under its lock.
//
// A connection: enter -> (wait in the room) -> leave.
// A call: admit -> (wait in its uid's queue) -> release.
// A stream: openStream -> closeStream.
type admission struct {
	limits    Limits   // without zero fields
	operators []uint32 // uids that get in while the server is full

	mu       sync.Mutex
	draining bool

	serving  int            // connections that have a place
	overfull int            // of these, how many passed through the full room
	perUID   map[uint32]int // connections, waiting ones included
	room     list.List      // of *guest, the oldest first

	running int                  // slots taken
	queued  int                  // calls in queues
	queues  map[uint32]*uidQueue // of uids that have calls waiting
	turns   list.List            // of *uidQueue: whose turn is next
	streams int
	// quiet is closed when nothing runs, waits or streams any more; nil while
	// nobody asks.
	quiet chan struct{}

	connections uint64
	refusals    map[string]uint64
}

// guest is a connection on its way in, and its place until it leaves. ready is called, outside the
// lock, once: with nil when it has a place, else with the refusal.
type guest struct {
	peer    *Peer
	extra   bool // has a place beyond MaxConnections
	ready   func(*Error)
	element *list.Element
}

// uidQueue holds the calls of one uid that wait for a slot, in their order.
type uidQueue struct {
	uid   uint32
	calls list.List // of *call
	turn  *list.Element
}

// place is where a call stands in admission; guarded by admission.mu.
type place struct {
	slot  bool          // holds a slot
	waits *list.Element // in its uid's queue
}

func newAdmission(limits Limits) *admission {
	return &admission{
		limits:    limits.WithDefaults(),
		operators: []uint32{0, uint32(os.Geteuid())},
		perUID:    make(map[uint32]int),
		queues:    make(map[uint32]*uidQueue),
		refusals:  make(map[string]uint64),
	}
}

// trusted peers get in while the server is full: an operator must be able to
// see why it is.
func (a *admission) trusted(p *Peer) bool { return slices.Contains(a.operators, p.UID) }

// ---- Refusals

func (a *admission) refuse(code int, reason, scope string, limit int64, executed Executed, format string, args ...any) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refuseLocked(code, reason, scope, limit, executed, format, args...)
}

func (a *admission) refuseLocked(code int, reason, scope string, limit int64, executed Executed, format string, args ...any) *Error {
	a.refusals[reason]++
	data := &ErrorData{Reason: reason, Scope: scope, Limit: limit, Executed: executed}
	if code == CodeResourceExhausted {
		data.RetryAfterMS = 1000 // bounds of this kind free up as calls end
	}
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Data: data}
}

// refused counts a refusal that another part of the house decided: a policy.
func (a *admission) refused(reason string) {
	a.mu.Lock()
	a.refusals[reason]++
	a.mu.Unlock()
}

func (a *admission) messageTooLarge() *Error {
	n := a.limits.MaxMessageBytes
	return a.refuse(CodeParseError, ReasonMessageTooLarge, "connection", int64(n), ExecutedNo,
		"message larger than %d bytes; the connection is closed", n)
}

func (a *admission) frameTimeout() *Error {
	d := a.limits.FrameTimeout
	return a.refuse(CodeParseError, ReasonFrameTimeout, "connection", d.Milliseconds(), ExecutedNo,
		"the message was not complete within %s; the connection is closed", d)
}

func (a *admission) replyTooLarge(executed Executed) *Error {
	n := a.limits.MaxMessageBytes
	return a.refuse(CodeReplyTooLarge, ReasonReplyTooLarge, "call", int64(n), executed,
		"the reply would be larger than %d bytes; ask for less", n)
}

func (a *admission) checkBatch(items int) *Error {
	if n := a.limits.MaxBatch; items > n {
		return a.refuse(CodeInvalidRequest, ReasonMaxBatch, "connection", int64(n), ExecutedNo,
			"the batch has %d items, expected at most %d", items, n)
	}
	return nil
}

func (a *admission) duplicateID(id []byte) *Error {
	e := a.refuse(CodeInvalidRequest, ReasonDuplicateID, "connection", 0, ExecutedNo,
		"invalid request: a call with this id is in flight on this connection")
	e.Data.(*ErrorData).ID = bytes.Clone(id)
	return e
}

func (a *admission) requestTimeout(limit time.Duration) *Error {
	return a.refuse(CodeDeadlineExceeded, ReasonRequestTimeout, "call", limit.Milliseconds(), ExecutedUnknown,
		"the call took longer than %s", limit)
}

func (a *admission) cancelled(executed Executed) *Error {
	return a.refuse(CodeCancelled, ReasonCancelled, "call", 0, executed, "the call was cancelled")
}

func (a *admission) shuttingDown(executed Executed) *Error {
	return a.refuse(CodeShuttingDown, ReasonShuttingDown, "server", 0, executed, "the server is shutting down")
}

func (a *admission) streamQueueFull(limit int) *Error {
	return a.refuse(CodeResourceExhausted, ReasonStreamQueue, "stream", int64(limit), ExecutedYes,
		"the stream has ended: more than %d events were waiting to be read", limit)
}

// ---- Connections

// enter lets a connection in, refuses it, or puts it into the waiting room. In
// the last case g.ready is called later. evicted is a guest that had to make
// room and must be told.
func (a *admission) enter(g *guest) (served bool, refusal *Error, evicted *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return false, a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down"), nil
	}
	trusted := a.trusted(g.peer)
	if n := a.limits.MaxConnectionsPerUID; !trusted && a.perUID[g.peer.UID] >= n {
		return false, a.refuseLocked(CodeResourceExhausted, ReasonMaxConnectionsPerID, "uid", int64(n), ExecutedNo,
			"uid %d has %d connections open, which is the limit", g.peer.UID, n), nil
	}
	a.perUID[g.peer.UID]++
	full := a.serving-a.overfull >= a.limits.MaxConnections
	if !full && (a.room.Len() == 0 || trusted) {
		a.serving++
		a.connections++
		return true, nil, nil
	}
	if full && trusted {
		a.serving++
		a.overfull++
		a.connections++
		g.extra, served = true, true
	} else {
		g.element = a.room.PushBack(g)
	}
	if a.room.Len()+a.overfull >= waitingRoom && a.room.Len() > 0 {
		evicted = a.room.Front().Value.(*guest)
		a.departLocked(evicted)
	}
	return served, nil, evicted
}

// mayAccept reports whether one more connection can be held.
func (a *admission) mayAccept() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.overfull < waitingRoom
}

// departLocked takes a guest out of the room without a place.
func (a *admission) departLocked(g *guest) {
	a.room.Remove(g.element)
	g.element = nil
	a.forgetLocked(g.peer)
}

func (a *admission) forgetLocked(p *Peer) {
	if a.perUID[p.UID]--; a.perUID[p.UID] == 0 {
		delete(a.perUID, p.UID)
	}
}

// giveUp takes a guest that waited too long out of the room; false if it has
// got a place, or left, meanwhile.
func (a *admission) giveUp(g *guest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.element == nil {
		return false
	}
	a.departLocked(g)
	return true
}

func (a *admission) roomRefusal() *Error {
	n := a.limits.MaxConnections
	return a.refuse(CodeResourceExhausted, ReasonMaxConnections, "server", int64(n), ExecutedNo,
		"all %d connections are taken", n)
}

// leave gives a connection's place back. next is the guest that has it now.
func (a *admission) leave(g *guest) (next *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serving--
	a.forgetLocked(g.peer)
	if g.extra {
		a.overfull--
	}
	return a.nextGuestLocked()
}

func (a *admission) nextGuestLocked() *guest {
	front := a.room.Front()
	if front == nil || a.serving-a.overfull >= a.limits.MaxConnections {
		return nil
	}
	g := a.room.Remove(front).(*guest)
	g.element = nil
	a.serving++
	a.connections++
	return g
}

// emptyRoom takes every guest out, at the end of accepting.
func (a *admission) emptyRoom() (guests []*guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for front := a.room.Front(); front != nil; front = a.room.Front() {
		g := front.Value.(*guest)
		a.departLocked(g)
		guests = append(guests, g)
	}
	return guests
}

// ---- Calls

// hasRoom reports whether a connection with so many calls in flight may start
// another.
func (a *admission) hasRoom(inFlight int) bool { return inFlight < a.limits.MaxInFlightPerConnection }

// admit gives a call a slot or refuses it. With neither it has to wait: the
// caller makes it independent of the read buffer, then calls enqueue.
func (a *admission) admit(c *call) (started bool, refusal *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.method.Control {
		return true, nil
	}
	if a.draining {
		return false, a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down")
	}
	return a.takeSlotLocked(c), nil
}

func (a *admission) takeSlotLocked(c *call) bool {
	if a.queued > 0 || a.running >= a.limits.MaxConcurrentRequests {
		return false
	}
	a.running++
	c.place.slot = true
	return true
}

// enqueue puts a call at the end of its uid's queue, unless a slot has become
// free meanwhile.
func (a *admission) enqueue(c *call) (started bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.takeSlotLocked(c) {
		return true
	}
	uid := c.conn.peer.UID
	q := a.queues[uid]
	if q == nil {
		q = &uidQueue{uid: uid}
		q.turn = a.turns.PushBack(q)
		a.queues[uid] = q
	}
	c.place.waits = q.calls.PushBack(c)
	a.queued++
	return false
}

// release gives a call's slot back. next is the call that has it now; the
// caller must run it.
func (a *admission) release(c *call) (next *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.place.slot {
		return nil
	}
	c.place.slot = false
	a.running--
	next = a.nextCallLocked()
	a.checkQuietLocked()
	return next
}

// nextCallLocked takes the first call of the uid whose turn it is.
func (a *admission) nextCallLocked() *call {
	front := a.turns.Front()
	if front == nil || a.running >= a.limits.MaxConcurrentRequests {
		return nil
	}
	q := front.Value.(*uidQueue)
	c := q.calls.Front().Value.(*call)
	a.dequeueLocked(q, c)
	if q.turn != nil {
		a.turns.MoveToBack(q.turn)
	}
	c.place.slot = true
	a.running++
	return c
}

func (a *admission) dequeueLocked(q *uidQueue, c *call) {
	q.calls.Remove(c.place.waits)
	c.place.waits = nil
	a.queued--
	if q.calls.Len() == 0 {
		a.turns.Remove(q.turn)
		q.turn = nil
		delete(a.queues, q.uid)
	}
}

// withdraw takes a call out of its queue; false if it is not there any more.
func (a *admission) withdraw(c *call) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.place.waits == nil {
		return false
	}
	a.dequeueLocked(a.queues[c.conn.peer.UID], c)
	a.checkQuietLocked()
	return true
}

func (a *admission) queueTimeout() *Error {
	d := a.limits.QueueTimeout
	return a.refuse(CodeResourceExhausted, ReasonQueueTimeout, "uid", d.Milliseconds(), ExecutedNo,
		"no slot became free within %s: %d requests run at once", d, a.limits.MaxConcurrentRequests)
}

// openStream lets a streaming call in; onConn is how many its connection has.
func (a *admission) openStream(onConn int) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down")
	}
	if n := a.limits.MaxStreamsPerConnection; onConn >= n {
		return a.refuseLocked(CodeResourceExhausted, ReasonMaxStreams, "connection", int64(n), ExecutedNo,
			"this connection has %d streams open, which is the limit", n)
	}
	if n := a.limits.MaxStreams; a.streams >= n {
		return a.refuseLocked(CodeResourceExhausted, ReasonMaxStreams, "server", int64(n), ExecutedNo,
			"all %d streams are taken", n)
	}
	a.streams++
	return nil
}

func (a *admission) closeStream() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams--
	a.checkQuietLocked()
}

// ---- The end

// drain refuses everything new from now on. The channel is closed when no call
// runs or waits and no stream is open.
func (a *admission) drain() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = true
	if a.quiet == nil {
		a.quiet = make(chan struct{})
		a.checkQuietLocked()
	}
	return a.quiet
}

func (a *admission) checkQuietLocked() {
	if a.quiet == nil || a.running > 0 || a.queued > 0 || a.streams > 0 {
		return
	}
	select {
	case <-a.quiet:
	default:
		close(a.quiet)
	}
}

// idle reports whether there is no connection and no call.
func (a *admission) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.serving == 0 && a.room.Len() == 0 && a.running == 0 && a.queued == 0
}

func (a *admission) stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Stats{
		Connections:      a.serving,
		Waiting:          a.room.Len(),
		Running:          a.running,
		Queued:           a.queued,
		Streams:          a.streams,
		Draining:         a.draining,
		TotalConnections: a.connections,
		Refusals:         maps.Clone(a.refusals),
	}
}
