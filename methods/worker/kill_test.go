package worker

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// kills is how often a worker is killed.
const kills = 200

// answers is what callers were told, by the text of their call.
type answers struct {
	mu       sync.Mutex
	executed map[string]rpc.Executed // "" for a result
	twice    []string
}

func (a *answers) add(call string, executed rpc.Executed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, found := a.executed[call]; found {
		a.twice = append(a.twice, call)
	}
	a.executed[call] = executed
}

// killOne kills a process that takes calls, and returns it; nil if there is none.
func (p *pool) killOne() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) == 0 {
		return nil
	}
	at := p.ready[rand.IntN(len(p.ready))]
	at.child.signal(syscall.SIGKILL)
	return at
}

// Each call leaves a mark when it runs, so that what its caller was told can be
// compared with what has happened.
func TestEveryCallIsAnsweredOnceAndHonestlyWhileItsWorkerIsKilled(t *testing.T) {
	b := newBench(t)
	marks := filepath.Join(t.TempDir(), "marks")
	m := plain(t, b, "processes = 2\nmax_in_flight = 4", "mark")["mark"]
	told := &answers{executed: make(map[string]rpc.Executed)}
	stop, ticks := make(chan struct{}), make(chan struct{})
	var callers sync.WaitGroup
	for caller := range 16 {
		callers.Go(func() {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%d-%d", caller, n)
				told.add(name, outcomeOf(t, m, name, marks))
				select {
				case ticks <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	for killed := make(map[*process]bool); len(killed) < kills; {
		for range 1 + rand.IntN(30) { // so many answers later
			<-ticks
		}
		if at := m.worker.pool.killOne(); at != nil {
			killed[at] = true
		}
	}
	close(stop)
	callers.Wait()
	text, err := os.ReadFile(marks)
	require.NoError(t, err)
	ran := make(map[string]int)
	for mark := range strings.Lines(string(text)) {
		ran[strings.TrimSpace(mark)]++
	}
	require.Empty(t, told.twice)
	counts := make(map[rpc.Executed]int)
	for name, executed := range told.executed {
		counts[executed]++
		switch executed {
		case "": // a result
			require.Equal(t, 1, ran[name], "%s has a result", name)
		case rpc.ExecutedNo:
			require.Equal(t, 0, ran[name], "%s was said not to have been executed", name)
		default:
			require.Equal(t, rpc.ExecutedUnknown, executed)
			require.LessOrEqual(t, ran[name], 1, "%s ran twice", name)
		}
		delete(ran, name)
	}
	require.Empty(t, ran, "these ran and nobody was told")
	t.Logf("killed %d times; calls: %d with a result, %d executed unknown, %d executed no", kills, counts[""], counts[rpc.ExecutedUnknown], counts[rpc.ExecutedNo])
	require.NotZero(t, counts[""])
	require.NotZero(t, counts[rpc.ExecutedUnknown], "no kill has met a call: the test has shown nothing")
}

func outcomeOf(t *testing.T, m *method, name, marks string) rpc.Executed {
	ctx, cancel := context.WithTimeout(context.Background(), longWait)
	defer cancel()
	_, err := m.call(ctx, fmt.Sprintf(`{"text":%q,"file":%q}`, name, marks), nil)
	if err == nil {
		return ""
	}
	wire, ok := err.(*rpc.Error)
	if !ok {
		t.Errorf("%s: %v", name, err)
		return "none"
	}
	return dataOf(t, wire).Executed
}

// A part of a message is as good as none for a worker that reads lines, but it
// is not ours to know that every worker does.
func TestACallThatWasWrittenInPartIsNotSaidNotToHaveBeenExecuted(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "sleep-all", "echo")
	stuck := make(chan error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := m["sleep-all"].call(ctx, "{}", nil)
		stuck <- err
	}()
	pool := m["echo"].worker.pool
	require.Eventually(t, func() bool { return pool.load() == 1 }, longWait, time.Millisecond)
	large := `{"text":"` + string(bytes.Repeat([]byte("x"), 1<<20)) + `"}`
	for range 2 { // the first fills the pipe, the second waits behind it
		go func() {
			_, err := m["echo"].call(ctx, large, nil)
			stuck <- err
		}()
	}
	require.Eventually(t, func() bool {
		pool.mu.Lock()
		defer pool.mu.Unlock()
		return len(pool.ready) == 1 && len(pool.ready[0].calls) == 3 && len(pool.ready[0].queue) == 1
	}, longWait, time.Millisecond)
	require.NotNil(t, pool.killOne())
	for range 2 { // the one that was read, and the one that was written in part
		var wire *rpc.Error
		require.ErrorAs(t, <-stuck, &wire)
		require.Equal(t, rpc.ExecutedUnknown, dataOf(t, wire).Executed)
	}
	require.Equal(t, `"third"`, m["echo"].ask(`{"text":"third"}`), "the one behind them has gone to a new process")
}
