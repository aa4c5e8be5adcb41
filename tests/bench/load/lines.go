package load

import (
	"bytes"
	"fmt"
	"strconv"
)

// lines is a session of newline-delimited JSON-RPC. Bytes are compared with the
// expected reply as they come, while they are still in the cache. A line that
// differs is looked up by its id, since replies may come in any order, and a
// form that is new is compared as JSON, once for each slot.
type lines struct {
	flight
	calls callTape
	forms *forms

	due     int    // the slot whose reply is expected next
	want    []byte // that reply
	matched int    // how much of want has come
	rest    []byte // the beginning of a line that is not the expected one
}

func newLines(s *script, w *worker) *lines {
	if w.forms == nil {
		w.forms = newForms(s)
	}
	return &lines{flight: newFlight(s.w, w), calls: s.calls, forms: w.forms}
}

func (l *lines) inFlight() int { return l.count }

func (l *lines) send(n int, now int64) ([]byte, error) {
	return l.take(l.calls, n, now)
}

func (l *lines) receive(in []byte, now int64) (replies int, err error) {
	for len(in) > 0 {
		if l.rest == nil {
			if l.matched == 0 {
				l.want = l.forms.of(l.due)
			}
			n := min(len(in), len(l.want)-l.matched)
			if bytes.Equal(in[:n], l.want[l.matched:l.matched+n]) {
				in = in[n:]
				if l.matched += n; l.matched < len(l.want) {
					return replies, nil
				}
				l.matched = 0
				if err := l.done(l.due, now); err != nil {
					return replies, err
				}
				replies++
				continue
			}
			l.rest = append(l.rest, l.want[:l.matched]...)
			l.matched = 0
		}
		end := bytes.IndexByte(in, '\n')
		if end < 0 {
			l.rest = append(l.rest, in...)
			return replies, nil
		}
		line := in[:end+1]
		if len(l.rest) > 0 {
			line = append(l.rest, line...)
		}
		l.rest, in = nil, in[end+1:]
		slot, err := l.forms.check(line)
		if err != nil {
			return replies, err
		}
		if err := l.done(slot, now); err != nil {
			return replies, err
		}
		replies++
	}
	return replies, nil
}

// done takes the reply of one slot, and finds the oldest call that is still in
// flight: its reply is the likeliest to come next.
func (l *lines) done(slot int, now int64) error {
	if err := l.answered(slot, now); err != nil {
		return err
	}
	for l.sentAt[l.due] == 0 && l.due != l.next {
		l.due = l.after(l.due)
	}
	return nil
}

// forms are the bytes of the right reply of each slot: at first those that most
// servers print, later those that this one was seen to print.
type forms struct {
	script *script
	seen   [][]byte
}

func newForms(s *script) *forms { return &forms{script: s, seen: make([][]byte, s.w.Slots)} }

func (f *forms) of(slot int) []byte {
	if f.seen[slot] != nil {
		return f.seen[slot]
	}
	return f.script.replies.Run(slot, 1)
}

// check returns the slot that line is the right reply of.
func (f *forms) check(line []byte) (int, error) {
	if slot, ok := f.quickSlot(line); ok && bytes.Equal(line, f.of(slot)) {
		return slot, nil
	}
	slot, err := f.script.checkJSON(line)
	if err != nil {
		return 0, err
	}
	f.seen[slot] = bytes.Clone(line)
	return slot, nil
}

// quickSlot guesses the slot of a reply from the first "id" in it. Whoever calls
// must compare the whole.
func (f *forms) quickSlot(line []byte) (int, bool) {
	const sign = `"id":`
	i := bytes.Index(line[:min(len(line), 64)], []byte(sign))
	if i < 0 {
		return 0, false
	}
	id := 0
	for _, c := range line[i+len(sign):] {
		if c < '0' || c > '9' || id > 1<<40 {
			break
		}
		id = 10*id + int(c-'0')
	}
	return f.script.w.Slot(id)
}

// excerpt shortens text for an error.
func excerpt(text []byte) string {
	const most = 200
	if len(text) <= most {
		return strconv.Quote(string(text))
	}
	return fmt.Sprintf("%q… (%d bytes)", text[:most], len(text))
}
