package load

import (
	"fmt"

	"github.com/marianned/marianned/tests/bench/workload"
)

// flight knows which calls of one connection are in flight. Calls take the slots
// of the workload in turns.
type flight struct {
	w      *workload.Workload
	worker *worker
	next   int     // the slot of the next call, unless one is in flight there
	sentAt []int64 // of each slot's call; 0 if none is in flight
	count  int

	runs  []run  // of begin
	texts []byte // of take
}

func newFlight(w *workload.Workload, worker *worker) flight {
	return flight{w: w, worker: worker, sentAt: make([]int64, w.Slots)}
}

// run is some slots that follow each other.
type run struct{ first, n int }

// begin notes that n calls are sent now, and returns their slots. It passes over
// those whose calls are still in flight: a server may answer in any order.
func (f *flight) begin(n int, now int64) ([]run, error) {
	if f.count+n > f.w.Slots {
		return nil, fmt.Errorf("%d calls are in flight, %d more are to be, and there are %d slots", f.count, n, f.w.Slots)
	}
	f.count += n
	f.runs = f.runs[:0]
	for follows := false; n > 0; n-- {
		for f.sentAt[f.next] != 0 {
			f.next, follows = f.after(f.next), false
		}
		f.sentAt[f.next] = now
		if !follows {
			f.runs, follows = append(f.runs, run{first: f.next}), true
		}
		f.runs[len(f.runs)-1].n++
		f.next = f.after(f.next)
	}
	return f.runs, nil
}

func (f *flight) after(slot int) int {
	if slot++; slot == f.w.Slots {
		return 0
	}
	return slot
}

// take is begin, and returns the texts of the calls.
func (f *flight) take(tape callTape, n int, now int64) ([]byte, error) {
	runs, err := f.begin(n, now)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	if len(runs) == 1 {
		return tape.Run(runs[0].first, runs[0].n), nil
	}
	f.texts = f.texts[:0]
	for _, r := range runs {
		f.texts = append(f.texts, tape.Run(r.first, r.n)...)
	}
	return f.texts, nil
}

type callTape interface{ Run(slot, n int) []byte }

// answered notes that the call of a slot got its reply, which was right.
func (f *flight) answered(slot int, now int64) error {
	if f.sentAt[slot] == 0 {
		return fmt.Errorf("found a reply with id %d, expected none: no such call is in flight", f.w.ID(slot))
	}
	f.worker.record(now - f.sentAt[slot])
	f.sentAt[slot] = 0
	f.count--
	return nil
}
