package worker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/marianned/marianned/rpc"
)

// errTooLarge is why a reply was not read.
var errTooLarge = errors.New("the reply is larger than max_message_bytes")

// maxIDBytes bounds the id of a worker's own request, which its answer repeats.
const maxIDBytes = 256

// read takes in what the worker says, until its stdout ends.
func (w *process) read(stdout io.Reader) {
	noise := newLimiter()
	limit := w.pool.settings.MaxMessageBytes
	for lines := bufio.NewReaderSize(stdout, 64<<10); ; {
		line, whole, err := readLine(lines, limit)
		switch {
		case err != nil:
			w.pool.mu.Lock()
			w.loseLocked(fmt.Errorf("its stdout ended: %w", err))
			w.pool.mu.Unlock()
			return
		case !whole:
			w.takeInLarge(line)
		case len(bytes.TrimSpace(line)) > 0:
			w.takeIn(line, noise)
		}
	}
}

// readLine returns the next line in memory of its own; of one that is longer
// than limit, its newline not counted, it returns the beginning.
func readLine(r *bufio.Reader, limit int) (line []byte, whole bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if room := limit + 1 - len(line); room > 0 {
			line = append(line, part[:min(len(part), room)]...)
		}
		switch {
		case err == nil:
			return line, line[len(line)-1] == '\n', nil
		case err != bufio.ErrBufferFull:
			return nil, false, err // what has no newline is not complete
		}
	}
}

func (w *process) takeIn(line []byte, noise *limiter) {
	messages, err := readMessages(line)
	if err != nil {
		w.takeInBroken(line, err, noise)
		return
	}
	for _, m := range messages {
		switch {
		case m.method == "":
			w.takeInReply(m)
		case m.id != nil:
			w.takeInRequest(m)
		default:
			w.takeInNotification(m)
		}
	}
}

// takeInBroken is for a line that is no message. Programs print to stdout what
// they should not: it is passed over. But a call whose reply it is will have no
// other.
func (w *process) takeInBroken(line []byte, reason error, noise *limiter) {
	noise.log(w.pool.log.WithField("bytes", len(line)).WithError(reason), "a line on the worker's stdout is no message and is passed over")
	w.finish(callOf(line), outcome{err: fmt.Errorf("the reply can not be read: %w", reason), executed: rpc.ExecutedYes})
}

// takeInLarge is for the beginning of a line that is too long to be kept.
func (w *process) takeInLarge(head []byte) {
	if id := callOf(head); id != 0 {
		w.finish(id, outcome{err: errTooLarge, executed: rpc.ExecutedYes})
		return
	}
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.endLocked(endFailed, fmt.Errorf("it sent a message larger than %d bytes (max_message_bytes), and the beginning of it does not say what it answers", w.pool.settings.MaxMessageBytes))
}

func (w *process) takeInReply(m message) {
	o := outcome{result: rpc.RawMessage(m.result), refused: m.failed}
	if m.failed == nil && m.result == nil {
		o = outcome{err: errors.New("the reply has neither result nor error"), executed: rpc.ExecutedYes}
	}
	id := m.call()
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.heardLocked()
	switch {
	case id == 0:
	case id == w.initID:
		w.initID = 0
		w.initializedLocked(o)
	case id == w.probeID:
		w.probeID = 0 // any answer will do
	default:
		w.finishLocked(id, o)
	}
}

func (w *process) initializedLocked(o outcome) {
	switch {
	case w.ending:
	case o.refused != nil:
		w.endLocked(endFailed, fmt.Errorf("it refused %s: %w", w.pool.settings.Initialize, o.refused))
	case o.err != nil:
		w.endLocked(endFailed, fmt.Errorf("%s: %w", w.pool.settings.Initialize, o.err))
	default:
		w.readyLocked()
	}
}

func (w *process) finish(id uint64, o outcome) {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.finishLocked(id, o)
}

// finishLocked is the outcome of a call that the worker knows. One that was
// given up has none.
func (w *process) finishLocked(id uint64, o outcome) {
	x := w.calls[id]
	if x == nil || x.state != written {
		return
	}
	w.answered = true
	w.pool.finishLocked(x, o)
	w.pool.assignLocked()
}

// takeInRequest answers what the worker asks of us.
func (w *process) takeInRequest(m message) {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.heardLocked()
	if len(m.id) > maxIDBytes {
		return
	}
	control := 0
	for _, e := range w.queue {
		if e.call == nil {
			control++
		}
	}
	if control >= maxControl {
		w.endLocked(endFailed, fmt.Errorf("it sends requests, and has not read the answers to %d of them", control))
		return
	}
	w.queueLocked(entry{line: answerFrame(m)})
}

// takeInNotification makes an event of it, for the stream that it names, or for
// the only one that there is.
func (w *process) takeInNotification(m message) {
	w.pool.mu.Lock()
	w.heardLocked()
	x := w.streamLocked(m.subscription())
	w.pool.mu.Unlock()
	if x != nil {
		x.emit(m)
	}
}

func (w *process) streamLocked(id uint64) (only *exchange) {
	if id != 0 {
		if x := w.calls[id]; x != nil && x.emit != nil {
			return x
		}
		return nil
	}
	for _, x := range w.calls {
		if x.emit == nil {
			continue
		}
		if only != nil {
			return nil
		}
		only = x
	}
	return only
}
