package worker

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// maxLines of a worker reach the log in lineInterval; the rest is counted.
	maxLines     = 100
	lineInterval = 10 * time.Second

	// maxLineBytes is the longest line of stderr that is logged as one.
	maxLineBytes = 4 << 10
)

// logStderr writes each line to the log, until stderr ends. It never stops
// reading: a worker must not wait for the log.
func (w *process) logStderr(stderr io.Reader) {
	lines := bufio.NewReaderSize(stderr, maxLineBytes)
	limit := newLimiter()
	for {
		line, err := lines.ReadSlice('\n') // of a longer line, a part
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			limit.log(w.stderrEntry(line), "the worker wrote to stderr")
		}
		if err != nil && err != bufio.ErrBufferFull {
			limit.rest(w.pool.log)
			return
		}
	}
}

func (w *process) stderrEntry(line []byte) *logrus.Entry {
	if w.pool.hides() {
		return w.pool.log.WithField("stderr", "not shown, since a method of this worker has sensitive params").WithField("bytes", len(line))
	}
	return w.pool.log.WithField("stderr", strings.ToValidUTF8(string(line), "\uFFFD"))
}

// limiter lets so many lines reach the log. One goroutine uses it.
type limiter struct {
	since      time.Time
	lines      int
	suppressed int
}

func newLimiter() *limiter { return &limiter{since: time.Now()} }

// log writes a line, or counts it.
func (l *limiter) log(entry *logrus.Entry, message string) {
	now := time.Now()
	if now.Sub(l.since) >= lineInterval {
		l.since, l.lines = now, 0
	}
	if l.lines == maxLines {
		l.suppressed++
		return
	}
	l.lines++
	if l.suppressed > 0 {
		entry = entry.WithField("not_logged", l.suppressed)
		l.suppressed = 0
	}
	entry.Info(message)
}

// rest says how many lines at the end were not logged.
func (l *limiter) rest(log logrus.FieldLogger) {
	if l.suppressed > 0 {
		log.WithField("not_logged", l.suppressed).Info("the worker wrote to stderr")
	}
}
