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
// the machine does slows both. "ratio" is that of the times, 1 for no overhead;
// "p50-ratio" that of the medians.
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
			for b.Loop() {
				bare.measure(callers.n, each, func(int) error { return bareTrue() })
				call.measure(callers.n, each, func(i int) error {
					_, err := clients[i].CallRaw(context.Background(), "true", nil)
					return err
				})
			}
			require.NoError(b, bare.err)
			require.NoError(b, call.err)
			b.ReportMetric(float64(bare.total)/float64(call.total), "ratio")
			b.ReportMetric(float64(bare.median())/float64(call.median()), "p50-ratio")
			b.ReportMetric(float64(call.median())/1e3, "p50-µs")
			b.ReportMetric(float64(len(call.each))/call.total.Seconds(), "calls/s")
		})
	}
}

// times are how long single runs took, and all of them together.
type times struct {
	mu    sync.Mutex
	total time.Duration
	each  []time.Duration
	err   error
}

// measure lets n goroutines run f so many times each.
func (t *times) measure(n, runs int, f func(i int) error) {
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
	t.total += time.Since(began)
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
