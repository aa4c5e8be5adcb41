package load

import (
	"fmt"
	"runtime"
	"time"

	"github.com/marianned/marianned/tests/bench/workload"
)

// worker is one thread of the client.
type worker struct {
	script *script
	path   string
	forms  *forms // of the dialect of lines
	buf    []byte // for what is read

	begin, end int64     // of the time that counts, see now
	counting   bool      // whether it is now
	latencies  Histogram // of what counts
	span       int64     // how long was counted, in ns

	onBegin, onEnd func()
}

// bufferBytes is read at once. It stays in the second-level cache.
const bufferBytes = 256 << 10

var started = time.Now()

// now is the time in ns since the program started, by the monotonic clock. It is
// never 0.
func now() int64 { return int64(time.Since(started)) + 1 }

// start begins to count.
func (w *worker) start(t int64) {
	w.onBegin()
	w.counting, w.begin = true, t
}

// stop ends it.
func (w *worker) stop(t int64) {
	w.counting, w.span = false, t-w.begin
	w.onEnd()
}

func (w *worker) record(latency int64) {
	if w.counting {
		w.latencies.add(latency)
	}
}

// run does the worker's part on a thread of its own.
func (w *worker) run(conns int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w.buf = make([]byte, bufferBytes)
	switch {
	case w.script.w.Kind == workload.Connect:
		return w.connect()
	case conns == 1 && w.script.w.Window == 1:
		return w.serial()
	default:
		return w.evented(conns)
	}
}

// silence is how long a server may take for anything before the run has failed.
const silence = 30 * time.Second

var errSilence = fmt.Errorf("the server said nothing for %v", silence)
