package rpc

import (
	"sync/atomic"
	"time"
)

// lateLook is how much later than it was due a look shows that the processors are
// taken.
const lateLook = 2 * time.Millisecond

// idleSweeps is how many sweeps that find nobody busy end the sweeping until
// somebody is busy again.
const idleSweeps = 50

// sweeper looks at every connection from time to time while any is busy, and
// takes over the reading of those that were busy with the same thing twice.
type sweeper struct {
	asleep atomic.Bool
	// crowded says that a look came late not long ago: more goroutines were ready to
	// run than there are processors.
	crowded atomic.Bool
	wake    chan struct{} // of capacity 1
	late    time.Duration // lateLook; in tests every look may be late
	queued  func() bool   // of the crowd
}

// busy is called by a reader after enter.
func (w *sweeper) busy() {
	if w.asleep.Load() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// run sweeps until done is closed. sweep reports whether anybody was busy, and
// whether anybody was stuck.
func (w *sweeper) run(done <-chan struct{}, sweep func() (busy, stuck bool)) {
	for {
		w.asleep.Store(true)
		// A reader that became busy before it could see asleep would not wake
		// us: look once more.
		if busy, _ := sweep(); !busy {
			select {
			case <-w.wake:
			case <-done:
				return
			}
		}
		w.asleep.Store(false)
		if !w.awake(done, sweep) {
			return
		}
	}
}

func (w *sweeper) awake(done <-chan struct{}, sweep func() (busy, stuck bool)) bool {
	interval := takeoverInterval
	timer := time.NewTimer(interval)
	defer timer.Stop()
	defer w.crowded.Store(false)
	var lastLate time.Time
	for idle := 0; idle < idleSweeps; {
		due := time.Now().Add(interval)
		select {
		case <-timer.C:
		case <-done:
			return false
		}
		switch now := time.Now(); {
		case now.Sub(due) > w.late, w.queued():
			lastLate = now
			w.crowded.Store(true)
		case now.Sub(lastLate) > crowdedFor:
			w.crowded.Store(false)
		}
		busy, stuck := sweep()
		queued := w.queued()
		if idle++; busy || queued {
			idle = 0
		}
		if interval = min(interval+interval/4, maxTakeoverInterval); stuck {
			interval = takeoverInterval
		} else if queued {
			interval = min(interval, maxTakeoverInterval/4) // others wait for whoever is stuck
		}
		timer.Reset(interval)
	}
	return true
}
