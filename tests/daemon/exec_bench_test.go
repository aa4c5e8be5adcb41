package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// BenchmarkTrue compares calls that run /bin/true with the least that a Go
// program can do to run it: fork, exec, wait. Both take turns, so that what else
// the machine does slows both. "ratio" is that of the times, 1 for no overhead, in
// the middle one of the rounds; "p50-ratio" that of the medians of all runs. It
// fails where one of them is below what is asked for: on a machine that does much
// else, run it again.
func BenchmarkTrue(b *testing.B) {
	path := filepath.Join(folder(b), "s")
	serve(b, path, "--methods", methodsFolder(b, "[methods.true]\nallow = [\"everyone\"]\nexec = [\"/bin/true\"]\n"))
	for _, callers := range []struct {
		name string
		n    int
	}{{"1-caller", 1}, {"8-callers", 8}} {
		b.Run(callers.name, func(b *testing.B) {
			clients := make([]*rpc.Client, callers.n)
			for i := range clients {
				client, err := rpc.Dial(context.Background(), path)
				require.NoError(b, err)
				defer client.Close()
				clients[i] = client
			}
			bare, call := new(times), new(times)
			const each = 20 // runs of one kind, and then of the other
			var ratios []float64
			for b.Loop() {
				took := bare.measure(callers.n, each, func(int) error { return bareTrue() })
				ratios = append(ratios, float64(took)/float64(call.measure(callers.n, each, func(i int) error {
					_, err := clients[i].CallRaw(context.Background(), "true", nil)
					return err
				})))
			}
			require.NoError(b, bare.err)
			require.NoError(b, call.err)
			slices.Sort(ratios)
			ratio, medians := ratios[len(ratios)/2], float64(bare.median())/float64(call.median())
			if ratio < leastRatio || medians < leastRatio {
				b.Errorf("calls a second are %.2f and p50 %.2f of a bare fork and exec, expected at least %.2f", ratio, medians, leastRatio)
			}
			b.ReportMetric(ratio, "ratio")
			b.ReportMetric(medians, "p50-ratio")
			b.ReportMetric(float64(call.median())/1e3, "p50-µs")
			b.ReportMetric(float64(len(call.each))/call.total.Seconds(), "calls/s")
		})
	}
}

// leastRatio is how fast a call is at least, beside a bare fork and exec.
const leastRatio = 0.8

// times are how long single runs took, and all of them together.
type times struct {
	mu    sync.Mutex
	total time.Duration
	each  []time.Duration
	err   error
}

// measure lets n goroutines run f so many times each, and returns how long all of
// it took.
func (t *times) measure(n, runs int, f func(i int) error) time.Duration {
	var all sync.WaitGroup
	began := time.Now()
	for i := range n {
		all.Go(func() {
			for range runs {
				began := time.Now()
				err := f(i)
				took := time.Since(began)
				t.mu.Lock()
				t.each = append(t.each, took)
				if err != nil {
					t.err = err
				}
				t.mu.Unlock()
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	t.total += took
	return took
}

func (t *times) median() time.Duration {
	slices.Sort(t.each)
	return t.each[len(t.each)/2]
}

func bareTrue() error {
	pid, _, err := syscall.StartProcess("/bin/true", []string{"/bin/true"}, &syscall.ProcAttr{Env: []string{"PATH=" + os.Getenv("PATH")}, Files: []uintptr{0, 1, 2}})
	if err == nil {
		_, err = syscall.Wait4(pid, nil, 0, nil)
	}
	return err
}
