package worker

import (
	"fmt"
	"io"
	"time"
)

// write writes what is queued, and closes stdin when nothing is to be written
// any more. A worker that does not read holds it up: its pipe takes 64 KiB.
func (w *process) write(stdin io.WriteCloser) {
	defer stdin.Close() // what was written is in the pipe
	for {
		e, ok := w.next()
		if !ok {
			return
		}
		if n, err := stdin.Write(e.line); err != nil {
			w.writeFailed(e.call, n, err)
			return
		}
	}
}

// next waits for the next line. ok is false when there will be none.
func (w *process) next() (e entry, ok bool) {
	for {
		w.pool.mu.Lock()
		switch {
		case w.deaf:
			w.pool.mu.Unlock()
			return entry{}, false
		case len(w.queue) > 0:
			e, w.queue = w.queue[0], w.queue[1:]
			if e.call != nil {
				e.call.state, e.call.wrote = written, time.Now()
			}
			w.pool.mu.Unlock()
			return e, true
		}
		w.pool.mu.Unlock()
		<-w.news
	}
}

// writeFailed ends a worker that has closed its stdin. A call of which no byte
// was written is for another one.
func (w *process) writeFailed(x *exchange, n int, err error) {
	p := w.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	w.endLocked(endFailed, fmt.Errorf("its stdin is closed: %w", err))
	if n > 0 || x == nil || x.state != written {
		return
	}
	delete(w.calls, x.id)
	x.state = waiting
	p.waiting = append([]*exchange{x}, p.waiting...)
	p.assignLocked()
}
