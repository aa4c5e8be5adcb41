package worker

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/rpc"
)

const (
	// quitDelay is how long an idle worker may take to end once its stdin has
	// ended, before it gets SIGTERM.
	quitDelay = 2 * time.Second

	// killDelay is how long it may take to end after SIGTERM.
	killDelay = 500 * time.Millisecond

	// drainTimeout is how long the pipes of a worker that has ended are read,
	// where somebody outside of its group has them open still.
	drainTimeout = 250 * time.Millisecond

	// maxControl bounds the lines, beside calls, that a worker has not taken in.
	maxControl = 64
)

// ending is how a process is to end.
type ending int

const (
	endIdle   ending = iota // by the end of its stdin, as nothing is asked of it
	endNow                  // by signals
	endFailed               // like endNow, and something is wrong with it
)

// process is one process of a worker, from its start until nothing is left of
// it. All but news is guarded by the lock of its pool.
type process struct {
	pool  *pool
	child *child // nil until it is started

	calls map[uint64]*exchange // queued and written
	queue []entry              // what write is to write, the oldest first
	news  chan struct{}        // of capacity 1: the queue or deaf has changed
	deaf  bool                 // nothing is to be written any more

	wasReady bool
	answered bool // has answered a call
	ending   bool
	how      ending
	reason   error // of the end

	initID  uint64    // of the call of initialize, while it has no answer
	probeID uint64    // of a health call, while it has no answer
	heard   time.Time // when the worker said something last

	starting, idle, health, suspect, kill *time.Timer
}

// entry is a line that is to be written; call is nil for one of our own.
type entry struct {
	line []byte
	call *exchange
}

func newProcess(p *pool) *process {
	return &process{pool: p, calls: make(map[uint64]*exchange), news: make(chan struct{}, 1)}
}

// run is the process's whole life.
func (w *process) run() {
	p := w.pool
	c, err := p.launch()
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		w.endLocked(endFailed, err)
		p.goneLocked(w)
		return
	}
	p.log.WithField("pid", c.pid).Info("worker started")
	w.begin(c)
	var pipes sync.WaitGroup
	pipes.Go(func() { w.read(c.stdout) })
	pipes.Go(func() { w.write(c.stdin) })
	pipes.Go(func() { w.logStderr(c.stderr) })
	status := c.wait()
	p.mu.Lock()
	w.endLocked(endFailed, fmt.Errorf("it has ended by itself: %s", status))
	p.mu.Unlock()
	deadline := time.Now().Add(drainTimeout)
	_ = c.stdout.SetReadDeadline(deadline) // fails where there is none, and read has ended
	_ = c.stderr.SetReadDeadline(deadline)
	_ = c.stdin.Close() // nobody reads it
	pipes.Wait()
	_, _ = c.stdout.Close(), c.stderr.Close()
	w.logEnd(c.pid, status)
	p.mu.Lock()
	defer p.mu.Unlock()
	stopTimer(&w.kill)
	p.goneLocked(w)
}

func (w *process) logEnd(pid int, status string) {
	w.pool.mu.Lock()
	how, reason := w.how, w.reason
	w.pool.mu.Unlock()
	entry := w.pool.log.WithField("pid", pid).WithField("status", status).WithField("reason", reason.Error())
	if how == endFailed {
		entry.Warn("worker failed")
	} else {
		entry.Info("worker ended")
	}
}

// begin lets a process that has started take calls, or initializes it first.
func (w *process) begin(c *child) {
	p, s := w.pool, w.pool.settings
	p.mu.Lock()
	defer p.mu.Unlock()
	w.child, w.heard = c, time.Now()
	switch {
	case w.ending:
		w.signalLocked()
	case s.Initialize == "":
		w.readyLocked()
	default:
		w.initID = p.nextIDLocked()
		w.queueLocked(entry{line: requestFrame(w.initID, s.Initialize, s.InitializeParams)})
		p.after(&w.starting, s.StartTimeout, func() {
			w.endLocked(endFailed, fmt.Errorf("no answer to %s within %s (start_timeout)", s.Initialize, s.StartTimeout))
		})
	}
}

func (w *process) readyLocked() {
	p, s := w.pool, w.pool.settings
	stopTimer(&w.starting)
	w.wasReady = true
	p.starting, p.ready = nil, append(p.ready, w)
	if s.Initialized != "" {
		w.queueLocked(entry{line: requestFrame(0, s.Initialized, nil)})
	}
	if s.HealthInterval > 0 {
		p.after(&w.health, s.HealthInterval, w.checkHealthLocked)
	}
	w.restLocked()
	p.assignLocked()
}

// takeLocked puts a call among those to be written.
func (w *process) takeLocked(x *exchange) {
	stopTimer(&w.idle)
	x.state, x.at = queued, w
	w.calls[x.id] = x
	w.queueLocked(entry{x.frame, x})
}

func (w *process) queueLocked(e entry) {
	if w.deaf {
		return
	}
	w.queue = append(w.queue, e)
	w.wakeLocked()
}

func (w *process) wakeLocked() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// restLocked lets the idle timeout begin once there is no call.
func (w *process) restLocked() {
	if len(w.calls) == 0 && w.wasReady && !w.ending {
		w.pool.after(&w.idle, w.pool.settings.IdleTimeout, func() {
			w.endLocked(endIdle, fmt.Errorf("no call for %s (idle_timeout)", w.pool.settings.IdleTimeout))
		})
	}
}

// endLocked has the process take no more calls and end; the first reason counts.
// Calls that were not written are for others. Those that were may still be
// answered: read knows when they can not be any more.
func (w *process) endLocked(how ending, reason error) {
	p := w.pool
	if w.ending {
		if w.how == endIdle && how == endNow {
			w.how = how
			w.signalLocked()
		}
		return
	}
	w.ending, w.how, w.reason, w.deaf = true, how, reason, true
	if p.starting == w {
		p.starting = nil
	}
	p.ready = slices.DeleteFunc(p.ready, func(other *process) bool { return other == w })
	for _, timer := range []**time.Timer{&w.starting, &w.idle, &w.health, &w.suspect} {
		stopTimer(timer)
	}
	w.handBackLocked()
	if how == endFailed {
		p.failedLocked(w, reason)
		if w.child == nil {
			p.log.WithError(reason).Warn("worker could not be started")
		}
	}
	w.signalLocked()
	p.assignLocked()
}

// handBackLocked makes the calls that were not written wait again, before those
// that have waited for less long.
func (w *process) handBackLocked() {
	var calls []*exchange
	for _, e := range w.queue {
		if e.call != nil {
			e.call.state = waiting
			delete(w.calls, e.call.id)
			calls = append(calls, e.call)
		}
	}
	w.queue = nil
	w.pool.waiting = append(calls, w.pool.waiting...)
}

// signalLocked has the program end as w.how says.
func (w *process) signalLocked() {
	w.wakeLocked()
	c, p := w.child, w.pool
	if c == nil {
		return
	}
	terminate := func() {
		c.signal(unix.SIGTERM)
		c.signal(unix.SIGCONT) // one that is stopped could not end
		p.after(&w.kill, killDelay, func() { c.signal(unix.SIGKILL) })
	}
	if w.how == endIdle {
		p.after(&w.kill, quitDelay, terminate) // write closes stdin now
		return
	}
	terminate()
}

// loseLocked is the end of all replies: whatever was written may have been
// executed.
func (w *process) loseLocked(reason error) {
	w.endLocked(endFailed, reason)
	for _, x := range w.calls {
		w.pool.finishLocked(x, outcome{err: fmt.Errorf("the worker ended while the call was with it: %w", w.reason), executed: rpc.ExecutedUnknown})
	}
}

var errStalled = errors.New("it said nothing")

// giveUpLocked tells the worker that nobody waits any more for a call that it
// may have seen.
func (w *process) giveUpLocked(x *exchange) {
	if w.ending {
		return
	}
	w.queueLocked(entry{line: w.pool.settings.cancelFrame(x.id)})
	w.suspectLocked(x)
}

// suspectLocked doubts a worker that has said nothing since it was given a call
// which has been given up now. One that does one thing after the other may just
// be busy: then it owes a reply to an older call, but for streams, which owe
// none. To be believed again it has to say something, whatever it is.
func (w *process) suspectLocked(x *exchange) {
	if w.heard.After(x.wrote) {
		return
	}
	for _, other := range w.calls {
		if other.state == written && other.emit == nil && !other.wrote.After(x.wrote) {
			return
		}
	}
	w.probeLocked()
}

// probeLocked asks the worker whether it is well, if there is a way to ask, and
// waits for it to say anything.
func (w *process) probeLocked() {
	s := w.pool.settings
	if s.HealthMethod != "" && w.probeID == 0 {
		w.probeID = w.pool.nextIDLocked()
		w.queueLocked(entry{line: requestFrame(w.probeID, s.HealthMethod, nil)})
	}
	if w.suspect == nil {
		w.pool.after(&w.suspect, s.StallTimeout, func() {
			w.endLocked(endFailed, fmt.Errorf("%w for %s (stall_timeout), with calls given up or health_method asked", errStalled, s.StallTimeout))
		})
	}
}

// checkHealthLocked asks a worker that has been silent.
func (w *process) checkHealthLocked() {
	interval := w.pool.settings.HealthInterval
	if time.Since(w.heard) >= interval {
		w.probeLocked()
	}
	w.pool.after(&w.health, interval, w.checkHealthLocked)
}

func (w *process) heardLocked() {
	w.heard = time.Now()
	stopTimer(&w.suspect)
}
