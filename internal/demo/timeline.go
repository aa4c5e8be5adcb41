package demo

import (
	"fmt"
	"io"
	"time"
)

// Whose doing a line of the timeline is.
const (
	byManager = "manager" // this process, in the service manager's place
	byClient  = "client"  // a client, in this process too
	byDaemon  = "daemon"  // the daemon under demonstration
)

// timeline prints what was observed, each line with the time since the start at
// which the one goroutine that uses it learnt of it: the times never fall.
type timeline struct {
	out   io.Writer
	now   func() time.Time
	start time.Time
	err   error // of the first write that failed
}

func newTimeline(out io.Writer, now func() time.Time) *timeline {
	return &timeline{out: out, now: now, start: now()}
}

// add prints one line. After a failed write it does nothing: err has the cause.
func (t *timeline) add(who, format string, args ...any) {
	t.print("%8.3f s  %-7s  %s\n", t.now().Sub(t.start).Seconds(), who, fmt.Sprintf(format, args...))
}

// note prints a line that is no observation: what comes next.
func (t *timeline) note(format string, args ...any) {
	t.print("%19s  %s\n", "", fmt.Sprintf(format, args...))
}

func (t *timeline) print(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format, args...)
	}
}
