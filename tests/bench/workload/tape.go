package workload

// Tape is a text for each slot, in one piece and in turns, so that the texts of
// any few slots that follow each other are one slice of it.
type Tape struct {
	slots  int
	text   []byte
	starts []int // of slot i; beyond the slots, of those that come again
}

// NewTape makes the tape of a workload from the text of each slot.
func NewTape(w *Workload, text func(slot int) []byte) *Tape {
	t := &Tape{slots: w.Slots}
	again := w.Window
	if w.Window == 1 {
		again = 0 // spares 15 MiB
	}
	for i := range w.Slots + again {
		t.starts = append(t.starts, len(t.text))
		t.text = append(t.text, text(i%w.Slots)...)
	}
	t.starts = append(t.starts, len(t.text))
	return t
}

// Slots is the number of slots.
func (t *Tape) Slots() int { return t.slots }

// Run is the texts of n slots from slot on, n at most the workload's window.
func (t *Tape) Run(slot, n int) []byte { return t.text[t.starts[slot]:t.starts[slot+n]] }
