package rpc

import (
	"cmp"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// lateLook is how much later than it was due a look shows that the processors are
// taken.
const lateLook = 2 * time.Millisecond

// idleSweeps is how many sweeps that find nobody busy end the sweeping until
// somebody is busy again.
const idleSweeps = 50

// sweeperGrace is how long after a sweep was due the goroutine makes it, where
// readers are to. They come by more often than that, or it makes no difference.
const sweeperGrace = time.Millisecond

// sweeper looks at every connection from time to time while any is busy, and has
// the reading taken over of those that were busy with the same thing twice.
//
// It has a goroutine. But as that becomes ready, the runtime wakes a thread that
// looks for more to do, and the calls of a client that makes one after the other
// move to another processor and back: 60 sweeps a second cost such a client up to
// a tenth of its calls. So while no more connections have something to do than there
// are processors, a reader makes the sweep that is due, as it has got input, and
// the goroutine is there for when none gets any.
type sweeper struct {
	asleep atomic.Bool
	// crowded says that not long ago more goroutines were ready to run than there
	// are processors: the goroutine came late, and many connections had something
	// to do.
	crowded atomic.Bool
	// many says that when somebody last looked, more connections had something to do
	// than there are processors.
	many atomic.Bool
	wake chan struct{} // of capacity 1
	// due is when a reader is to sweep, as time since made; never, if it is not to.
	due  atomic.Int64
	made time.Time

	late       time.Duration // lateLook; below zero, in tests, whatever happens is a crowd
	processors int
	queued     func() bool         // whether anybody waits in the crowd
	spare      func(want bool)     // as of Server.spareFunc; called with mu, does not wait
	look       func() observations // at every connection; called with mu

	mu       sync.Mutex // held by who sweeps
	timer    *time.Timer
	alarm    time.Time     // when the goroutine is to sweep
	interval time.Duration // between two sweeps
	idle     int           // sweeps in a row that found nobody busy
	lastLate time.Time
	spared   bool // spare was called last to have threads
}

// observations is what one look at all connections has found.
type observations struct {
	active int  // connections that had something to do since the look before
	stuck  bool // whether the reading of any was taken over
}

const never = math.MaxInt64

func (w *sweeper) init(look func() observations, queued func() bool, processors int, spare func(bool)) {
	w.look, w.queued, w.processors, w.spare = look, queued, processors, spare
	w.made = time.Now()
	w.due.Store(never)
	w.asleep.Store(true)
	w.wake = make(chan struct{}, 1)
	w.late = cmp.Or(w.late, lateLook)
}

// busy is called by a reader after enter, and where it waits blind.
func (w *sweeper) busy() {
	if w.asleep.Load() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// pass is called by a reader that has got input, with the time.
func (w *sweeper) pass(now time.Time) {
	if int64(now.Sub(w.made)) < w.due.Load() || !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	if int64(now.Sub(w.made)) >= w.due.Load() { // still
		w.sweepLocked(now, false)
	}
}

// run sweeps until done is closed.
func (w *sweeper) run(done <-chan struct{}) {
	for {
		w.asleep.Store(true)
		// A reader that became busy before it could see asleep would not wake
		// us: look once more.
		if !w.anybody() {
			select {
			case <-w.wake:
			case <-done:
				return
			}
		}
		w.asleep.Store(false)
		w.begin()
		for awake := true; awake; {
			select {
			case <-w.timer.C:
				awake = w.ring()
			case <-done:
				w.end()
				return
			}
		}
	}
}

// anybody reports whether anybody has had something to do since the last sweep.
func (w *sweeper) anybody() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.look().active > 0
}

// begin is the start of the sweeping.
func (w *sweeper) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle, w.interval = 0, takeoverInterval
	w.alarm = time.Now().Add(w.interval)
	w.timer = time.NewTimer(w.interval)
}

// end is the end of the sweeping: no reader sweeps from then on.
func (w *sweeper) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked()
}

func (w *sweeper) endLocked() {
	w.due.Store(never)
	w.timer.Stop()
	w.crowded.Store(false)
	w.many.Store(false)
	w.wantThreadsLocked(false)
}

// ring is what the goroutine does when its timer fires. It reports whether there
// is more to look after.
func (w *sweeper) ring() (awake bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Before(w.alarm) {
		return true // a reader was quicker, and has set the timer
	}
	w.sweepLocked(now, now.Sub(w.alarm) > w.late)
	if w.idle >= idleSweeps {
		w.endLocked()
		return false
	}
	return true
}

// sweepLocked looks at all connections, and says who is to do so the next time,
// and when.
func (w *sweeper) sweepLocked(now time.Time, late bool) {
	found, queued := w.look(), w.queued()
	few := found.active <= w.processors && w.late >= 0
	w.many.Store(!few)
	switch {
	case queued, late && !few:
		w.lastLate = now
		w.crowded.Store(true)
		w.wantThreadsLocked(true)
	case now.Sub(w.lastLate) > crowdedFor:
		w.crowded.Store(false)
	}
	if now.Sub(w.lastLate) > spareFor {
		w.wantThreadsLocked(false)
	}
	if w.idle++; found.active > 0 || queued {
		w.idle = 0
	}
	w.interval = min(w.interval+w.interval/4, maxTakeoverInterval)
	if found.stuck {
		w.interval = takeoverInterval
	} else if queued {
		w.interval = min(w.interval, maxTakeoverInterval/4) // others wait for whoever is stuck
	}
	due := now.Add(w.interval)
	w.alarm = due
	if few && w.idle == 0 && !w.crowded.Load() {
		w.due.Store(int64(due.Sub(w.made)))
		w.alarm = due.Add(sweeperGrace)
	} else {
		w.due.Store(never)
	}
	w.timer.Reset(w.alarm.Sub(now))
}

// wantThreadsLocked has spare threads come or go.
func (w *sweeper) wantThreadsLocked(want bool) {
	if w.spare != nil && w.spared != want {
		w.spared = want
		w.spare(want)
	}
}
