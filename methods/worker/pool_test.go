package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// fake is a worker inside the test, whose time is that of a bubble.
type fake struct {
	stdin   *bufio.Reader
	pipe    net.Conn // the worker's end of stdin
	stdout  net.Conn // the worker's end of stdout
	dead    chan struct{}
	die     func()
	mu      sync.Mutex
	signals []string
	stays   bool // after SIGTERM
}

// said is one line that a worker was given.
type said struct {
	ID     uint64
	Method string
	Params json.RawMessage
}

// read returns the next line; ok is false at the end of stdin.
func (f *fake) read() (r said, ok bool) {
	line, err := f.stdin.ReadBytes('\n')
	if err != nil {
		return r, false
	}
	return r, json.Unmarshal(line, &r) == nil
}

func (f *fake) say(format string, args ...any) {
	_, _ = fmt.Fprintf(f.stdout, format+"\n", args...) // fails once the worker is dead
}

func (f *fake) answer(r said) { f.say(`{"id":%d,"result":%q}`, r.ID, r.Method) }

// serve answers everything but what has the name "silence".
func (f *fake) serve() {
	for {
		r, ok := f.read()
		switch {
		case !ok:
			return
		case r.ID != 0 && r.Method != "silence":
			f.answer(r)
		}
	}
}

// staged is a pool of fakes.
type staged struct {
	*pool
	log    *logBuffer
	mu     sync.Mutex
	fakes  []*fake
	refuse error // of a start
	starts []time.Duration
	begun  time.Time
}

// stage returns a pool whose workers do what body says. It is to be stopped.
func stage(t *testing.T, s Settings, body func(f *fake)) *staged {
	setDefault(&s.Processes, 1)
	setDefault(&s.MaxInFlight, DefaultMaxInFlight)
	setDefault(&s.MaxMessageBytes, DefaultMaxMessageBytes)
	setDefault(&s.StartTimeout, DefaultStartTimeout)
	setDefault(&s.IdleTimeout, DefaultIdleTimeout)
	setDefault(&s.StallTimeout, DefaultStallTimeout)
	logger := logrus.New()
	g := &staged{log: new(logBuffer), begun: time.Now()}
	logger.SetOutput(g.log)
	g.pool = newPool(s.key(), &s, logger)
	g.launch = func() (*child, error) { return g.newFake(body) }
	g.use(false)
	t.Cleanup(func() {
		g.stop()
		<-g.quiet
	})
	return g
}

func (g *staged) newFake(body func(*fake)) (*child, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.starts = append(g.starts, time.Since(g.begun))
	if g.refuse != nil {
		return nil, g.refuse
	}
	in, theirIn := net.Pipe()
	out, theirOut := net.Pipe()
	stderr, theirErr := net.Pipe()
	f := &fake{stdin: bufio.NewReader(theirIn), pipe: theirIn, stdout: theirOut, dead: make(chan struct{})}
	f.die = sync.OnceFunc(func() {
		for _, c := range []net.Conn{theirIn, theirOut, theirErr} {
			_ = c.Close()
		}
		close(f.dead)
	})
	signal := func(sig syscall.Signal) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.signals = append(f.signals, fmt.Sprintf("%v %v", time.Since(g.begun), sig))
		if sig == syscall.SIGKILL || sig == syscall.SIGTERM && !f.stays {
			f.die()
		}
	}
	go func() {
		body(f)
		f.die()
	}()
	g.fakes = append(g.fakes, f)
	return &child{stdin: in, stdout: out, stderr: stderr, pid: len(g.fakes), signal: signal, wait: func() string {
		<-f.dead
		return "dead"
	}}, nil
}

// ask submits a call and returns what becomes of it.
func (g *staged) ask(ctx context.Context, method string) (outcome, bool) {
	x := g.submit(func(id uint64) []byte { return requestFrame(id, method, nil) }, nil)
	return g.await(ctx, x)
}

// signals returns those that the first process got, and when.
func (g *staged) signals() []string {
	synctest.Wait()
	f := g.fakes[0]
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.signals)
}

// launched returns when processes were started.
func (g *staged) launched() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.starts)
}

func TestAWorkerThatCanNotStartIsTriedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{}, (*fake).serve)
		g.refuse = errors.New("it is not there")
		var told []time.Duration
		for time.Since(g.begun) < 100*time.Second {
			o, ok := g.ask(t.Context(), "m")
			require.True(t, ok)
			require.Equal(t, rpc.ExecutedNo, o.executed)
			require.Positive(t, o.retry, "who may come again is told when")
			require.LessOrEqual(t, o.retry, maxPause)
			told = append(told, o.retry)
			time.Sleep(o.retry)
		}
		var gaps []time.Duration
		starts := g.launched()
		for i := 1; i < len(starts); i++ {
			gaps = append(gaps, starts[i]-starts[i-1])
		}
		pause := minPause
		for _, gap := range gaps {
			require.Equal(t, pause, gap)
			pause = min(2*pause, maxPause)
		}
		require.Contains(t, gaps, maxPause)
		require.Equal(t, gaps, told[:len(gaps)], "a call at the time that was told finds it tried again")

		g.mu.Lock()
		g.refuse = nil
		g.mu.Unlock()
		time.Sleep(maxPause)
		o, ok := g.ask(t.Context(), "m")
		require.True(t, ok)
		require.Equal(t, `"m"`, string(o.result))
		g.fakes[0].die()
		synctest.Wait()
		before := time.Now()
		o, _ = g.ask(t.Context(), "m")
		require.Equal(t, `"m"`, string(o.result))
		require.Equal(t, minPause, time.Since(before), "the pauses begin anew once a call was answered, and short ones are waited for")
	})
}

func TestWithinALongPauseCallsAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{}, (*fake).serve)
		g.refuse = errors.New("it is not there")
		g.pool.mu.Lock()
		g.failures = 6
		g.pool.mu.Unlock()
		o, _ := g.ask(t.Context(), "m")
		require.Equal(t, 6400*time.Millisecond, o.retry)
		time.Sleep(time.Second)
		before := time.Now()
		o, _ = g.ask(t.Context(), "m")
		require.ErrorIs(t, o.err, errPaused)
		require.Equal(t, rpc.ExecutedNo, o.executed)
		require.Equal(t, 5400*time.Millisecond, o.retry)
		require.Zero(t, time.Since(before))
		require.Len(t, g.launched(), 1)
	})
}

func TestAnIdleWorkerIsAskedToEndAndThenMadeTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		g := stage(t, Settings{IdleTimeout: time.Minute}, nil)
		g.launch = func() (*child, error) {
			return g.newFake(func(f *fake) {
				f.stays = true
				f.serve()
				ended <- time.Since(g.begun)
				<-f.dead
			})
		}
		for range 3 { // calls keep it
			_, ok := g.ask(t.Context(), "m")
			require.True(t, ok)
			time.Sleep(50 * time.Second)
		}
		time.Sleep(time.Minute)
		require.Equal(t, 160*time.Second, <-ended, "its stdin has ended a minute after the last call")
		require.Equal(t, []string{"2m42s terminated", "2m42s continued", "2m42.5s killed"}, g.signals())
	})
}

func TestAnIdleWorkerThatEndsByItselfGetsNoSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{IdleTimeout: time.Minute}, (*fake).serve)
		_, ok := g.ask(t.Context(), "m")
		require.True(t, ok)
		time.Sleep(2 * time.Minute)
		require.Empty(t, g.signals())
		require.NotContains(t, g.log.String(), "failed")
		before := time.Now()
		_, ok = g.ask(t.Context(), "m")
		require.True(t, ok)
		require.Zero(t, time.Since(before), "its end was no failure: nothing is waited for")
	})
}

// giveUp makes a call that nobody waits for after d.
func (g *staged) giveUp(t *testing.T, method string, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_, ok := g.ask(ctx, method)
	require.False(t, ok)
}

func TestAWorkerThatIsSilentAfterACallWasGivenUpIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{StallTimeout: 10 * time.Second}, (*fake).serve)
		g.giveUp(t, "silence", 3*time.Second)
		time.Sleep(9 * time.Second)
		require.Empty(t, g.signals())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"13s terminated", "13s continued"}, g.signals())
		o, _ := g.ask(t.Context(), "m")
		require.Equal(t, `"m"`, string(o.result))
	})
}

func TestAnythingThatAWorkerSaysEndsTheDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{StallTimeout: 10 * time.Second}, (*fake).serve)
		g.giveUp(t, "silence", 3*time.Second)
		time.Sleep(5 * time.Second)
		_, ok := g.ask(t.Context(), "m")
		require.True(t, ok)
		time.Sleep(time.Minute)
		require.Empty(t, g.signals())
	})
}

func TestAWorkerThatIsBusyWithAnOlderCallIsNotEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{StallTimeout: 10 * time.Second}, func(f *fake) {
			r, _ := f.read()
			var later []said
			for len(later) < 3 { // the cancel is among them
				r, _ := f.read()
				later = append(later, r)
			}
			time.Sleep(time.Minute) // in which it does nothing else
			f.answer(r)
			f.serve()
		})
		long := make(chan outcome, 1)
		go func() {
			o, _ := g.ask(t.Context(), "long")
			long <- o
		}()
		synctest.Wait()
		go g.ask(t.Context(), "m")
		synctest.Wait()
		g.giveUp(t, "silence", time.Second)
		require.Equal(t, `"long"`, string((<-long).result))
		require.Empty(t, g.signals())
		g.stop() // the call "m" gets no answer
	})
}

func TestAHealthyWorkerAnswersWhenItIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := Settings{HealthMethod: "ping", HealthInterval: 20 * time.Second, StallTimeout: 5 * time.Second, IdleTimeout: time.Hour}
		var asked atomic.Int32
		g := stage(t, settings, func(f *fake) {
			for {
				r, ok := f.read()
				switch {
				case !ok:
					return
				case r.Method == "ping":
					if asked.Add(1) > 3 {
						continue
					}
				}
				f.answer(r)
			}
		})
		_, ok := g.ask(t.Context(), "m")
		require.True(t, ok)
		time.Sleep(84 * time.Second)
		require.EqualValues(t, 4, asked.Load())
		require.Empty(t, g.signals())
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"1m25s terminated", "1m25s continued"}, g.signals())
	})
}

// TestBoundsHold lets a worker answer only when the test says so.
func TestNoWorkerHasMoreCallsThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var mu sync.Mutex
		var order []uint64
		most := 0
		g := stage(t, Settings{Processes: 2, MaxInFlight: 3}, func(f *fake) {
			var held []said
			for {
				synctestRead := make(chan said)
				go func() {
					r, ok := f.read()
					if ok {
						synctestRead <- r
					}
					close(synctestRead)
				}()
				for reading := true; reading; {
					select {
					case r, ok := <-synctestRead:
						if !ok {
							return
						}
						mu.Lock()
						held = append(held, r)
						order = append(order, r.ID)
						most = max(most, len(held))
						mu.Unlock()
						reading = false
					case <-release:
						if len(held) > 0 {
							f.answer(held[0])
							held = held[1:]
						}
					}
				}
			}
		})
		var calls sync.WaitGroup
		for range 20 {
			synctest.Wait() // so that they come one after the other
			calls.Go(func() {
				_, ok := g.ask(context.Background(), "m")
				require.True(t, ok)
			})
		}
		synctest.Wait()
		require.Len(t, order, 6)
		require.Equal(t, 3, most)
		done := make(chan struct{})
		go func() {
			calls.Wait()
			close(done)
		}()
		for finished := false; !finished; {
			select {
			case release <- struct{}{}:
				synctest.Wait()
			case <-done:
				finished = true
			}
		}
		require.Equal(t, 3, most)
		require.Len(t, g.launched(), 2)
		slices.Sort(order[:6])
		require.True(t, slices.IsSorted(order), "who waits longer comes first: %v", order)
	})
}

func TestAWorkerThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := make(chan struct{}, 1)
		first <- struct{}{}
		g := stage(t, Settings{StallTimeout: time.Minute}, func(f *fake) {
			select {
			case <-first:
				<-f.dead // net.Pipe takes not a byte that nobody reads
			default:
				f.serve()
			}
		})
		g.giveUp(t, "first", time.Second)
		g.giveUp(t, "second", time.Second)
		g.giveUp(t, "third", time.Second)
		g.pool.mu.Lock()
		require.Len(t, g.ready[0].queue, 1, "of the calls that were given up unwritten nothing is left; the one being written is cancelled")
		g.pool.mu.Unlock()
		before := time.Now()
		o, ok := g.ask(t.Context(), "fourth")
		require.True(t, ok)
		require.Equal(t, `"fourth"`, string(o.result), "not a byte of it was written: it has gone to the next process")
		require.Equal(t, 58*time.Second+minPause, time.Since(before), "a minute after the first was given up")
	})
}

func TestAWorkerThatAsksAndDoesNotReadIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{}, func(f *fake) {
			for n := 0; ; n++ {
				select {
				case <-f.dead:
					return
				default:
					f.say(`{"id":%d,"method":"are.you.there"}`, n)
				}
			}
		})
		o, ok := g.ask(t.Context(), "m")
		require.True(t, ok)
		require.Error(t, o.err)
		g.stop()
		<-g.quiet
		require.Contains(t, g.log.String(), "has not read the answers to 64 of them")
	})
}

func TestWhatAWorkerLeftBehindDoesNotKeepItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{}, nil)
		var left net.Conn
		g.launch = func() (*child, error) {
			c, err := g.newFake(func(f *fake) { f.read() })
			ours, theirs := net.Pipe() // which stays open when the worker has ended
			c.stdout, left = ours, theirs
			return c, err
		}
		before := time.Now()
		o, ok := g.ask(t.Context(), "m")
		require.True(t, ok)
		require.Equal(t, rpc.ExecutedUnknown, o.executed)
		require.Equal(t, drainTimeout, time.Since(before))
		_, err := left.Write([]byte("x"))
		require.ErrorIs(t, err, io.ErrClosedPipe)
	})
}

func TestASecondProcessStartsWhereOneIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := stage(t, Settings{Processes: 3}, (*fake).serve)
		for range 10 {
			_, ok := g.ask(t.Context(), "m")
			require.True(t, ok)
		}
		require.Len(t, g.launched(), 1, "one is enough for one call at a time")
		for range 20 {
			go g.ask(t.Context(), "silence")
		}
		synctest.Wait()
		require.Len(t, g.launched(), 3)
		require.NotContains(t, strings.ToLower(g.log.String()), "failed")
		g.stop()
	})
}
