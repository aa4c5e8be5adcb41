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
	next   int     // the slot of the next call
	sentAt []int64 // of each slot's call; 0 if none is in flight
	count  int
}

func newFlight(w *workload.Workload, worker *worker) flight {
	return flight{w: w, worker: worker, sentAt: make([]int64, w.Slots)}
}

// begin notes that the next n calls are sent now, and returns the slot of the
// first.
func (f *flight) begin(n int, now int64) (first int, err error) {
	first = f.next
	for range n {
		if f.sentAt[f.next] != 0 {
			return 0, fmt.Errorf("the call with id %d was not answered while %d later ones were", f.w.ID(f.next), f.w.Slots-1)
		}
		f.sentAt[f.next] = now
		if f.next++; f.next == f.w.Slots {
			f.next = 0
		}
	}
	f.count += n
	return first, nil
}

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
