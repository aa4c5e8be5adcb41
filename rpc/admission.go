package rpc

import (
	"container/list"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
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
