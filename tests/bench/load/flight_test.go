package load

import (
	"slices"
	"testing"

	"github.com/marianned/marianned/tests/bench/workload"
)

// A server may keep one call while it answers all others: its slot is not used
// again meanwhile, and no other call waits for it.
func TestSlotsInFlightArePassedOver(t *testing.T) {
	w := &workload.Workload{Slots: 5}
	f := newFlight(w, &worker{})
	begin := func(n int, want ...run) {
		t.Helper()
		got, err := f.begin(n, 1)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("found %v and %v, expected %v", got, err, want)
		}
	}
	begin(3, run{0, 3})
	for _, slot := range []int{0, 2} {
		if err := f.answered(slot, 2); err != nil {
			t.Fatal(err)
		}
	}
	begin(4, run{3, 3}, run{2, 1}) // 3, 4, 0; 1 is in flight
	if _, err := f.begin(1, 1); err == nil {
		t.Fatal("found a slot, expected none: all are in flight")
	}
	if err := f.answered(1, 2); err != nil {
		t.Fatal(err)
	}
	if err := f.answered(1, 2); err == nil {
		t.Fatal("a second reply passes")
	}
}
