package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/rpc"
)

const (
	// After a process has ended that should not have, none is started for a
	// pause. It doubles from the first to the second, and begins anew once a
	// process has answered a call.
	minPause = 100 * time.Millisecond
	maxPause = 30 * time.Second

	// patience is the longest pause that calls wait for. In a longer one they
	// are told when to come again.
	patience = time.Second
)

// exchange is one call, from submit to its outcome. It is guarded by the lock of
// its pool, but for what never changes.
type exchange struct {
	id    uint64
	frame []byte
	emit  func(m message) // nil for a call that is no stream
	done  chan outcome    // of capacity 1; gets exactly one
	state exchangeState   // which of the pool's places it is in
	at    *process        // from queued on
	wrote time.Time       // when writing began
}

type exchangeState int

const (
	waiting  exchangeState = iota // in pool.waiting
	queued                        // in at.queue and at.calls
	written                       // in at.calls: the worker may have seen it
	finished                      // in none
)

// outcome is what became of a call: a result, the worker's error, or the reason
// why there is neither.
type outcome struct {
	result   rpc.RawMessage
	refused  *rpc.Error
	err      error
	executed rpc.Executed  // of err
	retry    time.Duration // of err: when a worker may be there again
}

var (
	errStopped = errors.New("the daemon stops")
	errPaused  = errors.New("the worker has failed, and is not started again yet")
)

// pool is the processes of one definition.
type pool struct {
	key      string // of settings
	settings *Settings
	launch   func() (*child, error)
	log      logrus.FieldLogger

	mu       sync.Mutex
	lastID   uint64
	waiting  []*exchange // the oldest first
	ready    []*process  // those that take calls
	starting *process    // one at a time
	all      map[*process]struct{}
	users    int  // methods, and calls: those that may still submit
	secret   bool // a method has sensitive parameters: stderr may show them
	stopped  bool
	quiet    chan struct{} // closed when nothing is left of a pool that is stopped, or not used any more

	failures  int
	notBefore time.Time   // when a process may be started again
	wake      *time.Timer // at notBefore
}

func newPool(key string, s *Settings, log logrus.FieldLogger) *pool {
	return &pool{
		key: key, settings: s, launch: s.start, log: log.WithField("worker", s.Name),
		all: make(map[*process]struct{}), quiet: make(chan struct{}),
	}
}

// submit takes in a call. frame makes its line.
func (p *pool) submit(frame func(id uint64) []byte, emit func(message)) *exchange {
	p.mu.Lock()
	x := &exchange{id: p.nextIDLocked(), emit: emit, done: make(chan outcome, 1)}
	p.mu.Unlock()
	x.frame = frame(x.id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		p.finishLocked(x, outcome{err: errStopped, executed: rpc.ExecutedNo})
		return x
	}
	p.waiting = append(p.waiting, x)
	p.assignLocked()
	return x
}

func (p *pool) nextIDLocked() uint64 {
	p.lastID++
	return p.lastID
}

// await returns what became of a call. Once ctx has ended nobody waits for it
// any more, and ok is false.
func (p *pool) await(ctx context.Context, x *exchange) (o outcome, ok bool) {
	select {
	case o = <-x.done:
		return o, true
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.state == finished { // an outcome that is there counts
		return <-x.done, true
	}
	at, wasWritten := x.at, x.state == written
	p.finishLocked(x, outcome{})
	if wasWritten {
		at.giveUpLocked(x)
	}
	p.assignLocked()
	return outcome{}, false
}

// finishLocked is the one place where a call gets its outcome.
func (p *pool) finishLocked(x *exchange, o outcome) {
	switch x.state {
	case waiting:
		p.waiting = slices.DeleteFunc(p.waiting, func(w *exchange) bool { return w == x })
	case queued:
		x.at.queue = slices.DeleteFunc(x.at.queue, func(e entry) bool { return e.call == x })
		fallthrough
	case written:
		delete(x.at.calls, x.id)
		x.at.restLocked()
	case finished:
		return
	}
	x.state = finished
	x.done <- o
}

// assignLocked hands calls that wait to processes with room, and starts those
// that are missing. It is called after every change that it could matter to.
func (p *pool) assignLocked() {
	if p.stopped {
		p.refuseWaitingLocked(outcome{err: errStopped, executed: rpc.ExecutedNo})
	}
	for len(p.waiting) > 0 {
		at := p.idlestLocked()
		if at == nil {
			break
		}
		x := p.waiting[0]
		p.waiting = p.waiting[1:]
		at.takeLocked(x)
	}
	p.growLocked()
	p.retireLocked()
	p.quietLocked()
}

// idlestLocked returns the process with the fewest calls, nil if all are full.
func (p *pool) idlestLocked() (idlest *process) {
	for _, at := range p.ready {
		if len(at.calls) < p.settings.MaxInFlight && (idlest == nil || len(at.calls) < len(idlest.calls)) {
			idlest = at
		}
	}
	return idlest
}

// growLocked starts a process where calls wait, or where each has something to
// do already and there may be more.
func (p *pool) growLocked() {
	busy := !slices.ContainsFunc(p.ready, func(at *process) bool { return len(at.calls) < 2 })
	if p.stopped || p.starting != nil || len(p.ready) >= p.settings.Processes || len(p.waiting) == 0 && (len(p.ready) == 0 || !busy) {
		return
	}
	pause := time.Until(p.notBefore)
	if pause <= 0 {
		p.startLocked()
		return
	}
	if pause > patience && len(p.ready) == 0 {
		p.refuseWaitingLocked(outcome{err: errPaused, executed: rpc.ExecutedNo, retry: pause})
		return
	}
	if p.wake == nil {
		p.after(&p.wake, pause, p.assignLocked)
	}
}

func (p *pool) refuseWaitingLocked(o outcome) {
	for len(p.waiting) > 0 {
		p.finishLocked(p.waiting[0], o)
	}
}

func (p *pool) startLocked() {
	at := newProcess(p)
	p.starting = at
	p.all[at] = struct{}{}
	go at.run()
}

// failedLocked counts a process that has ended and should not have. Calls that
// wait for one that could not even start are told so, unless others run.
func (p *pool) failedLocked(at *process, reason error) {
	if at.answered {
		p.failures = 0
	}
	pause := min(minPause<<min(p.failures, 20), maxPause)
	p.failures++
	p.notBefore = time.Now().Add(pause)
	if !at.wasReady && len(p.ready) == 0 {
		p.refuseWaitingLocked(outcome{err: fmt.Errorf("the worker could not be started: %w", reason), executed: rpc.ExecutedNo, retry: pause})
	}
}

// retireLocked ends the processes of a pool that nobody uses any more, once they
// have nothing to do.
func (p *pool) retireLocked() {
	if p.users > 0 || len(p.waiting) > 0 {
		return
	}
	if p.starting != nil {
		p.starting.endLocked(endIdle, errUnused)
	}
	for _, at := range slices.Clone(p.ready) {
		if len(at.calls) == 0 {
			at.endLocked(endIdle, errUnused)
		}
	}
}

var errUnused = errors.New("no method uses it any more")

// use counts a method or a call in.
func (p *pool) use(secret bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users++
	p.secret = p.secret || secret
}

// hides reports whether what the worker writes to stderr is kept from the log.
func (p *pool) hides() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.secret
}

// release counts one out, and reports whether it was the last.
func (p *pool) release() (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users--
	p.assignLocked()
	return p.users == 0
}

// stop ends all processes, whatever they do. quiet is closed when they are gone.
func (p *pool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.stopped = true
	stopTimer(&p.wake)
	for at := range p.all {
		at.endLocked(endNow, errStopped)
	}
	p.assignLocked()
}

// goneLocked forgets a process of which nothing is left.
func (p *pool) goneLocked(at *process) {
	delete(p.all, at)
	p.quietLocked()
}

// after runs f, with the lock held, after d, unless the timer in slot is stopped
// or replaced before.
func (p *pool) after(slot **time.Timer, d time.Duration, f func()) {
	stopTimer(slot)
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if *slot == t {
			*slot = nil
			f()
		}
	})
	*slot = t
}

func stopTimer(slot **time.Timer) {
	if *slot != nil {
		(*slot).Stop()
		*slot = nil
	}
}

func (p *pool) quietLocked() {
	if len(p.all) > 0 || len(p.waiting) > 0 || !p.stopped && p.users > 0 {
		return
	}
	select {
	case <-p.quiet:
	default:
		close(p.quiet)
	}
}
