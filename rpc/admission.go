package rpc

import (
	"bytes"
	"container/list"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
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
// A call: admit -> (wait for its method, or a slot) -> release.
// A stream: openStream -> closeStream.
// A large message: reserve -> (wait for bytes) -> giveBack.
type admission struct {
	limits    atomic.Pointer[Limits] // without zero fields; changed under mu
	operators []uint32               // uids that get in while the server is full

	// slots is the number of slots taken. While guarded is set in it, they are
	// taken and given back under mu only: calls wait, or the server drains. A
	// call that finds a free slot and nobody waiting pays for two atomic
	// operations, not for the lock.
	slots atomic.Uint32
	// mixed says that not all connections are of one uid. It changes under mu.
	mixed atomic.Bool

	ledger ledger

	mu       sync.Mutex
	draining bool

	serving  int                 // connections that have a place
	overfull int                 // of these, how many passed through the full room
	accounts map[uint32]*account // of uids with connections, waiting ones included
	room     list.List           // of *guest, the oldest first

	queue   fairQueue // calls that wait for a slot
	methods map[string]*methodGate
	parked  int // calls that wait for their method
	streams int
	// quiet is closed when nothing runs, waits or streams any more; nil while
	// nobody asks.
	quiet chan struct{}

	connections uint64
	refusals    map[string]uint64
}

// guarded is a bit of admission.slots.
const guarded = 1 << 31

// guest is a connection on its way in, and its place until it leaves. ready is
// called, outside the lock, once: with nil when it has a place, else with the
// refusal.
type guest struct {
	peer    *Peer
	account *account
	extra   bool // has a place beyond MaxConnections
	probe   bool // has no place: it is the server's own
	ready   func(*Error)
	element *list.Element
}

// methodGate counts the calls of one method that has a bound of its own.
type methodGate struct {
	name    string
	running int // past the gate: they have a slot, or wait for one
	waiting fairQueue
}

// place is where a call stands in admission; guarded by admission.mu, but for
// slot, which belongs to who runs the call.
type place struct {
	slot  bool
	gate  *methodGate // that it has passed
	waits ticket
}

func newAdmission(limits Limits) *admission {
	a := &admission{
		operators: []uint32{0, uint32(os.Geteuid())},
		accounts:  make(map[uint32]*account),
		methods:   make(map[string]*methodGate),
		refusals:  make(map[string]uint64),
	}
	a.setLimitsLocked(limits)
	return a
}

func (a *admission) setLimitsLocked(limits Limits) {
	limits = limits.WithDefaults()
	a.limits.Store(&limits)
	a.ledger.max.Store(int64(limits.MaxBufferedBytes))
	a.ledger.reserve = bufferSize(limits.MaxMessageBytes + bufferSlack)
}

// setLimits changes every bound. Nobody is dropped who is beyond a new one.
// guests have a place now, and calls a slot: the caller must run them.
func (a *admission) setLimits(limits Limits) (guests []*guest, calls []*call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLimitsLocked(limits)
	for g := a.nextGuestLocked(); g != nil; g = a.nextGuestLocked() {
		guests = append(guests, g)
	}
	for c := a.nextCallLocked(); c != nil; c = a.nextCallLocked() {
		calls = append(calls, c)
	}
	a.unguardLocked()
	a.ledger.grantLocked()
	return guests, calls
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
	n := a.limits.Load().MaxMessageBytes
	return a.refuse(CodeParseError, ReasonMessageTooLarge, "connection", int64(n), ExecutedNo,
		"message larger than %d bytes; the connection is closed", n)
}

func (a *admission) frameTimeout() *Error {
	d := a.limits.Load().FrameTimeout
	return a.refuse(CodeParseError, ReasonFrameTimeout, "connection", d.Milliseconds(), ExecutedNo,
		"the message was not complete within %s; the connection is closed", d)
}

func (a *admission) replyTooLarge(executed Executed) *Error {
	n := a.limits.Load().MaxMessageBytes
	return a.refuse(CodeReplyTooLarge, ReasonReplyTooLarge, "call", int64(n), executed,
		"the reply would be larger than %d bytes; ask for less", n)
}

func (a *admission) checkBatch(items int) *Error {
	if n := a.limits.Load().MaxBatch; items > n {
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
	acct := a.accounts[g.peer.UID]
	if n := a.limits.Load().MaxConnectionsPerUID; !trusted && acct != nil && acct.connections >= n {
		return false, a.refuseLocked(CodeResourceExhausted, ReasonMaxConnectionsPerID, "uid", int64(n), ExecutedNo,
			"uid %d has %d connections open, which is the limit", g.peer.UID, n), nil
	}
	if acct == nil {
		acct = newAccount(g.peer.UID)
		a.accounts[acct.uid] = acct
		a.mixed.Store(len(a.accounts) > 1)
	}
	acct.connections++
	g.account = acct
	full := a.serving-a.overfull >= a.limits.Load().MaxConnections
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
	a.forgetLocked(g.account)
}

func (a *admission) forgetLocked(acct *account) {
	if acct.connections--; acct.connections == 0 {
		delete(a.accounts, acct.uid)
		a.mixed.Store(len(a.accounts) > 1)
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
	n := a.limits.Load().MaxConnections
	return a.refuse(CodeResourceExhausted, ReasonMaxConnections, "server", int64(n), ExecutedNo,
		"all %d connections are taken", n)
}

// leave gives a connection's place back. next is the guest that has it now.
func (a *admission) leave(g *guest) (next *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serving--
	a.forgetLocked(g.account)
	if g.extra {
		a.overfull--
	}
	return a.nextGuestLocked()
}

func (a *admission) nextGuestLocked() *guest {
	front := a.room.Front()
	if front == nil || a.serving-a.overfull >= a.limits.Load().MaxConnections {
		return nil
	}
	return a.seatLocked(front)
}

// seatLocked gives a guest in the room a place.
func (a *admission) seatLocked(element *list.Element) *guest {
	g := a.room.Remove(element).(*guest)
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

// admitRoom gives every guest in the room a place, whatever the bound: they will
// not be served.
func (a *admission) admitRoom() (guests []*guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for front := a.room.Front(); front != nil; front = a.room.Front() {
		guests = append(guests, a.seatLocked(front))
	}
	return guests
}

// ---- Calls

// hasRoom reports whether a connection with so many calls in flight, which hold
// so many bytes, may start another.
func (a *admission) hasRoom(inFlight int, held int64) bool {
	return inFlight < a.limits.Load().MaxInFlightPerConnection && (held < connectionWindow || !a.ledger.pressed())
}

// connectionWindow is how many bytes the calls of one connection may hold, in
// params and in replies that it does not take, before it is read no further
// while the server holds much: half of MaxBufferedBytes.
const connectionWindow = 128 << 10

// admit gives a call a slot or refuses it. With neither it has to wait: the
// caller makes it independent of the read buffer, then calls enqueue.
func (a *admission) admit(c *call) (started bool, refusal *Error) {
	if c.method.Control {
		return true, nil
	}
	if c.method.MaxConcurrent == 0 && a.takeFreeSlot() {
		c.hold()
		return true, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return false, a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down")
	}
	return a.passGateLocked(c) && a.takeSlotLocked(c), nil
}

// takeFreeSlot takes a slot without the lock, if nobody waits for one.
func (a *admission) takeFreeSlot() bool {
	limit := uint32(a.limits.Load().MaxConcurrentRequests)
	for {
		n := a.slots.Load()
		if n&guarded != 0 || n >= limit {
			return false
		}
		if a.slots.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// freeSlot gives one back without the lock, if nobody waits for it.
func (a *admission) freeSlot() bool {
	for {
		n := a.slots.Load()
		if n&guarded != 0 {
			return false
		}
		if a.slots.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

func (a *admission) running() int { return int(a.slots.Load() &^ guarded) }

// passGateLocked lets a call pass where its method has a bound of its own.
func (a *admission) passGateLocked(c *call) bool {
	if c.method.MaxConcurrent == 0 || c.place.gate != nil {
		return true
	}
	g := a.methods[c.method.Name]
	if g == nil {
		g = &methodGate{name: c.method.Name}
		a.methods[g.name] = g
	}
	if g.waiting.length > 0 || g.running >= c.method.MaxConcurrent {
		return false
	}
	g.running++
	c.place.gate = g
	return true
}

// takeSlotLocked gives c a slot, unless others wait for one.
func (a *admission) takeSlotLocked(c *call) bool {
	limit := uint32(a.limits.Load().MaxConcurrentRequests)
	for a.queue.length == 0 {
		n := a.slots.Load()
		if n&^guarded >= limit {
			return false
		}
		if a.slots.CompareAndSwap(n, n+1) {
			c.hold()
			return true
		}
	}
	return false
}

// hold notes that c has a slot, which the caller took.
func (c *call) hold() {
	c.place.slot = true
	c.conn.guest.account.slots.Add(1)
}

// enqueue puts a call at the end of its uid's line, unless it can start
// meanwhile.
func (a *admission) enqueue(c *call) (started bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.passGateLocked(c) {
		a.methods[c.method.Name].waiting.push(c)
		a.parked++
		return false
	}
	return a.slotOrQueueLocked(c)
}

func (a *admission) slotOrQueueLocked(c *call) (started bool) {
	a.slots.Or(guarded) // from here on no slot is given back behind our back
	if a.takeSlotLocked(c) {
		a.unguardLocked()
		return true
	}
	a.queue.push(c)
	return false
}

// unguardLocked ends the need for the lock once nobody waits.
func (a *admission) unguardLocked() {
	if a.queue.length == 0 && !a.draining {
		a.slots.And(^uint32(guarded))
	}
}

// release gives a call's slot back. next is a call that has one now; the caller
// must run it.
func (a *admission) release(c *call) (next *call) {
	if !c.place.slot {
		return nil
	}
	c.place.slot = false
	c.conn.guest.account.slots.Add(-1)
	if c.place.gate == nil && a.freeSlot() {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slots.Add(^uint32(0))
	return a.goOnLocked(c)
}

// goOnLocked is what follows when a call has left: who can go on, does.
func (a *admission) goOnLocked(left *call) (next *call) {
	for _, released := range a.leaveGateLocked(left) {
		switch {
		case !a.slotOrQueueLocked(released):
		case next == nil:
			next = released
		default:
			released.start()
		}
	}
	if next == nil {
		next = a.nextCallLocked()
	}
	a.unguardLocked()
	a.checkQuietLocked()
	return next
}

// leaveGateLocked lets others of the method past its gate: one, as a rule, but none
// or several where the bound that they came with is not that of the call that left.
func (a *admission) leaveGateLocked(c *call) (released []*call) {
	g := c.place.gate
	if g == nil {
		return nil
	}
	c.place.gate = nil
	g.running--
	for next := g.waiting.peek(); next != nil && g.running < next.method.MaxConcurrent; next = g.waiting.peek() {
		released = append(released, g.waiting.pop())
		a.parked--
		g.running++
		next.place.gate = g
	}
	if g.running == 0 {
		delete(a.methods, g.name)
	}
	return released
}

// nextCallLocked gives a free slot to the call that is next.
func (a *admission) nextCallLocked() *call {
	if a.queue.length == 0 || a.running() >= a.limits.Load().MaxConcurrentRequests {
		return nil
	}
	c := a.queue.pop()
	c.hold()
	a.slots.Add(1) // guarded, since a call waited
	return c
}

// abandon gives back what a call got that waits in no queue yet.
func (a *admission) abandon(c *call) (next *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.goOnLocked(c)
}

// withdraw takes a call out of its queue; false if it is not there any more.
// next is a call that has a slot now; the caller must run it.
func (a *admission) withdraw(c *call) (withdrawn bool, next *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := c.place.waits.queue
	if q == nil {
		return false, nil
	}
	q.remove(c)
	if q != &a.queue {
		a.parked--
		a.checkQuietLocked()
		return true, nil
	}
	return true, a.goOnLocked(c)
}

func (a *admission) queueTimeout() *Error {
	d := a.limits.Load().QueueTimeout
	return a.refuse(CodeResourceExhausted, ReasonQueueTimeout, "uid", d.Milliseconds(), ExecutedNo,
		"no slot became free within %s: %d requests run at once", d, a.limits.Load().MaxConcurrentRequests)
}

// openStream lets a streaming call in; onConn is how many its connection has.
func (a *admission) openStream(onConn int) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down")
	}
	if n := a.limits.Load().MaxStreamsPerConnection; onConn >= n {
		return a.refuseLocked(CodeResourceExhausted, ReasonMaxStreams, "connection", int64(n), ExecutedNo,
			"this connection has %d streams open, which is the limit", n)
	}
	if n := a.limits.Load().MaxStreams; a.streams >= n {
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

// ---- Bytes

// reserve gives a connection a large buffer for input, if there is room for one
// of size bytes. Else its reader waits for what wait.granted says; nil on it
// means that the server drains.
func (a *admission) reserve(c *conn, size int) (g grant, wait *reservation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	trusted := a.trusted(c.peer)
	if len(a.ledger.waiting) == 0 && a.ledger.takeLocked(c.guest.account, size, trusted) {
		return grant{bytes: size}, nil
	}
	wait = &reservation{account: c.guest.account, size: size, trusted: trusted, granted: make(chan grant, 1)}
	if a.draining {
		close(wait.granted)
		return grant{}, wait
	}
	a.ledger.waiting = append(a.ledger.waiting, wait)
	a.ledger.anyWaiting.Store(true)
	a.ledger.grantLocked() // bytes may have come back before anyWaiting was set
	return grant{}, wait
}

// withdrawReservation ends a wait; false if it was granted meanwhile.
func (a *admission) withdrawReservation(r *reservation) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.ledger.waiting, r)
	if i < 0 {
		return false
	}
	a.ledger.forgetLocked(i)
	return true
}

func (a *admission) refuseWaitingBytesLocked() {
	for _, r := range a.ledger.waiting {
		close(r.granted)
	}
	a.ledger.waiting = nil
	a.ledger.anyWaiting.Store(false)
}

// mayReply reports whether a connection may be sent a reply of n bytes beside
// what its uid has not taken yet.
func (a *admission) mayReply(c *conn, n int) bool {
	return n <= freelyTaken || a.trusted(c.peer) || c.guest.account.held.Load()+int64(n) <= a.ledger.share()
}

// giveBack returns what a buffer held.
func (a *admission) giveBack(acct *account, g grant) {
	a.ledger.add(acct, -g.bytes)
	if !g.fromReserve && !a.ledger.anyWaiting.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.fromReserve {
		a.ledger.reserveTaken = false
	}
	a.ledger.grantLocked()
}

func (a *admission) bufferTimeout() *Error {
	l := a.limits.Load()
	return a.refuse(CodeResourceExhausted, ReasonMaxBufferedBytes, "server", int64(l.MaxBufferedBytes), ExecutedNo,
		"no memory for a message of more than %d bytes became free within %s: %d bytes are held at most; the connection is closed",
		sharedFrame, l.QueueTimeout, l.MaxBufferedBytes)
}

func (a *admission) replyBeyondShare() *Error {
	return a.refuse(CodeResourceExhausted, ReasonMaxBufferedBytes, "uid", a.ledger.share(), ExecutedYes,
		"the reply is lost: this uid has too many replies that are not read yet")
}

// ---- The end

// drain refuses everything new from now on. The channel is closed when no call
// runs or waits and no stream is open.
func (a *admission) drain() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = true
	a.slots.Or(guarded)
	a.refuseWaitingBytesLocked()
	if a.quiet == nil {
		a.quiet = make(chan struct{})
		a.checkQuietLocked()
	}
	return a.quiet
}

func (a *admission) checkQuietLocked() {
	if a.quiet == nil || a.running() > 0 || a.queue.length > 0 || a.parked > 0 || a.streams > 0 {
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
	return a.serving == 0 && a.room.Len() == 0 && a.running() == 0 && a.queue.length+a.parked == 0
}

func (a *admission) stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Stats{
		Connections:      a.serving,
		Waiting:          a.room.Len(),
		Running:          a.running(),
		Queued:           a.queue.length + a.parked,
		BufferedBytes:    a.ledger.totalLocked(),
		Streams:          a.streams,
		Draining:         a.draining,
		TotalConnections: a.connections,
		Refusals:         maps.Clone(a.refusals),
	}
}
