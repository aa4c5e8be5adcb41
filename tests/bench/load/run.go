package load

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

// Target is the server that is called, and how.
type Target struct {
	Path     string
	Dialect  servers.Dialect
	Workload *workload.Workload
}

// Result is what one run measured.
type Result struct {
	Latencies Histogram
	PerSecond float64 // calls answered
}

// Run calls the target: for warmUp without counting, then for about d. It calls
// begin and end, on a goroutine of its own, when the time that counts does. Any reply that is wrong or
// missing is an error, and then there is no result.
func Run(t Target, warmUp, d time.Duration, begin, end func()) (*Result, error) {
	script := newScript(t.Workload, t.Dialect)
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // what is made here is small

	from := now() + int64(warmUp)
	to := from + int64(d)
	workers := make([]*worker, min(t.Workload.Conns, runtime.NumCPU()))
	errs := make([]error, len(workers))
	var running sync.WaitGroup
	for i := range workers {
		w := &worker{script: script, path: t.Path, begin: from, end: to, onBegin: func() {}, onEnd: func() {}}
		if i == 0 {
			w.onBegin, w.onEnd = begin, end
		}
		workers[i] = w
		// The first ones take what cannot be shared out evenly.
		conns := (t.Workload.Conns + len(workers) - 1 - i) / len(workers)
		running.Go(func() { errs[i] = w.run(conns) })
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	result := new(Result)
	for _, w := range workers {
		result.Latencies.merge(&w.latencies)
		result.PerSecond += float64(w.latencies.n) / (float64(w.span) / 1e9)
	}
	if result.Latencies.n == 0 {
		return nil, fmt.Errorf("no call was answered in %v", d)
	}
	return result, nil
}
