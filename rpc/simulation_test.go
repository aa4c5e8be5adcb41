package rpc

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

var (
	simSeeds = flag.Int("simulation.seeds", 300, "how many seeds the simulation plays")
	simFirst = flag.Uint64("simulation.first", 1, "the first of them")
	simSeed  = flag.Uint64("simulation.seed", 0, "the one seed to play, in this process; 0 for all")
)

// simulationChild is set in the environment of a process that plays seeds for
// another: whatever ends it, the other knows the seed.
const simulationChild = "RPC_SIMULATION_CHILD"

// TestSimulation plays random clients against a server in fake time, one plan
// for each seed, and checks after each step what must always hold. A seed makes
// one plan; which of several goroutines is faster is not decided by it, so that
// a seed may have to be played several times before it fails again.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed)
		return
	}
	if os.Getenv(simulationChild) != "" {
		for i := range *simSeeds {
			seed := *simFirst + uint64(i)
			fmt.Printf("seed %d\n", seed)
			if simulate(t, seed); t.Failed() {
				return
			}
		}
		return
	}
	args := []string{"-test.run=^TestSimulation$", "-test.timeout=0",
		fmt.Sprintf("-simulation.seeds=%d", *simSeeds), fmt.Sprintf("-simulation.first=%d", *simFirst)}
	child := exec.CommandContext(t.Context(), os.Args[0], args...)
	child.Env = append(os.Environ(), simulationChild+"=1")
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	err := child.Run()
	if err == nil {
		return
	}
	seed, said := "", out.String()
	if i := strings.LastIndex(said, "seed "); i >= 0 {
		said = said[i+len("seed "):]
		digits := len(said) - len(strings.TrimLeft(said, "0123456789"))
		seed, said = said[:digits], said[digits:]
	}
	const shown = 20_000
	if len(said) > shown {
		said = said[:shown] + "\n…"
	}
	t.Fatalf("seed %s fails: %v\nagain, alone:\n\tgo test -race ./rpc -run '^TestSimulation$' -count=20 -simulation.seed=%s\n%s", seed, err, seed, said)
}

// simulation is one run. Its fields belong to the goroutine that drives it.
type simulation struct {
	t          *testing.T
	began      time.Time
	random     *rand.Rand
	net        *simNet
	srv        *Server
	executions *executions
	clients    []*simClient
	kinds      []string // of actions, that this plan has
	crowded    bool     // readers take turns all the time
	ceiling    ceiling
	history    []string

	served    chan error   // what Serve of the last server returned
	successor chan *Server // goes on once the handover that is under way has ended
	hasty     bool         // a handover had too little time, or room
	handed    bool         // there was one

	stopping bool       // Shutdown was called
	stopped  chan error // what it returned
	reasons  chan simReason
	problems []string
}

// simReason is a line of the server's log about one connection.
type simReason struct {
	client int
	text   string
	at     time.Time
}

// Levels and Fire make it a logrus.Hook.
func (s *simulation) Levels() []logrus.Level { return logrus.AllLevels }

func (s *simulation) Fire(e *logrus.Entry) error {
	if pid, ok := e.Data["pid"].(int32); ok && strings.HasPrefix(e.Message, "closing: ") {
		s.reasons <- simReason{int(pid), e.Message, e.Time}
	}
	return nil
}

func (s *simulation) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *simulation) note(format string, args ...any) {
	s.history = append(s.history, time.Since(s.began).String()+" "+fmt.Sprintf(format, args...))
}

// simulate plays one seed.
func simulate(t *testing.T, seed uint64) { simulateWith(t, seed, new(fault)) }

// simulateWith plays one seed while something fails.
func simulateWith(t *testing.T, seed uint64, f *fault) {
	synctest.Test(t, func(t *testing.T) {
		before, _ := bubbleGoroutines()
		s := newSimulation(t, seed, f)
		s.serve()
		for range 10 + s.random.IntN(50) {
			s.step()
			if len(s.problems) > 0 {
				break
			}
		}
		if len(s.problems) == 0 {
			s.finish()
		}
		s.net.keep(false)
		_ = s.srv.Close()
		if err := <-s.served; err != ErrServerClosed {
			s.problem("Serve returned %v", err)
		}
		if s.successor != nil { // there was a problem
			_ = (<-s.successor).Close()
		}
		for _, c := range s.clients {
			c.end.hangUp()
		}
		time.Sleep(time.Minute) // the handlers that heed nothing end
		synctest.Wait()
		if len(s.problems) == 0 {
			s.checkNothingLeft()
		}
		s.problems = append(s.problems, s.executions.problems...)
		if n, stacks := bubbleGoroutines(); n > before && len(s.problems) == 0 {
			s.problem("%d goroutines are left\n%s", n-before, stacks)
		}
		if len(s.problems) > 0 {
			t.Errorf("seed %d: %s\n%s\n\nwhat was done:\n%s", seed, f, strings.Join(s.problems, "\n"), strings.Join(s.history, "\n"))
		}
	})
}

// bubbleGoroutines counts the goroutines of synctest's bubbles. Those of the
// runtime, as for finalizers, come and go beside them.
func bubbleGoroutines() (n int, stacks string) {
	b := make([]byte, 1<<20)
	stacks = string(b[:runtime.Stack(b, true)])
	return strings.Count(stacks, ", synctest bubble "), stacks
}

func (s *simulation) serve() {
	served := make(chan error, 1)
	l := &simListener{simNet: s.net}
	go func(srv *Server) { served <- srv.Serve(l) }(s.srv)
	s.served = served
}

// handOver begins to replace the server by another that goes on with its
// connections.
func (s *simulation) handOver() {
	timeout, maxInput := time.Minute, 1<<30
	if s.random.IntN(3) == 0 {
		s.hasty = true
		timeout, maxInput = time.Duration(s.pick(0, 5, 20, 100, 1000))*time.Millisecond, s.pick(0, 100, 3000)
	}
	s.note("handover within %s, of %d bytes of input", timeout, maxInput)
	s.net.keep(true)
	s.handed = true
	s.successor = make(chan *Server, 1)
	pause := time.Duration(s.pick(0, 0, 10, 100)) * time.Millisecond
	old, next := s.srv, s.newServer(s.srv.CurrentLimits())
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		kept, _ := old.Handover(ctx, maxInput) // an error says that ctx was too short
		for !s.executions.over() {             // a process ends with its handlers
			time.Sleep(time.Millisecond)
		}
		time.Sleep(pause)
		for _, k := range kept {
			next.Adopt(k)
		}
		s.successor <- next
	}()
}

// succeed has the successor serve, once it is there.
func (s *simulation) succeed() bool {
	select {
	case next := <-s.successor:
		if err := <-s.served; err != ErrServerClosed {
			s.problem("Serve returned %v", err)
		}
		s.note("the next server goes on")
		s.checkServerEnded()
		s.net.keep(false)
		s.srv, s.successor = next, nil
		s.serve()
		return true
	default:
		return false
	}
}

// step does some things at once, lets them have their effect, and checks.
func (s *simulation) step() {
	for range 1 + s.random.IntN(4) {
		s.act()
	}
	for _, c := range s.clients {
		if s.random.IntN(4) == 0 {
			c.trickle(1 + s.random.IntN(3000))
		}
	}
	if s.random.IntN(3) > 0 {
		s.settle()
		s.check()
	}
	ms := s.pick(0, 1, 1, 2, 5, 10, 15, 20, 50, 100)
	s.note("%d ms pass", ms)
	s.pass(ms)
	if s.random.IntN(2) > 0 { // else what comes next meets the timers of this moment
		s.settle()
		s.check()
	}
}

// pass lets time pass. Clients that do not stall read and write meanwhile.
func (s *simulation) pass(ms int) {
	for ; ms > 0; ms -= 5 {
		s.settle()
		time.Sleep(time.Duration(min(ms, 5)) * time.Millisecond)
	}
}

func (s *simulation) pick(from ...int) int { return from[s.random.IntN(len(from))] }

// settle lets everything happen that needs no time.
func (s *simulation) settle() {
	for moved := true; moved; {
		synctest.Wait()
		moved = s.succeed()
		for _, c := range s.clients {
			moved = c.pump() || moved
		}
	}
}

// finish lets every client read and write, waits until all calls have an
// outcome, and stops the server if that was not done before.
func (s *simulation) finish() {
	s.note("all stalls end")
	for _, c := range s.clients {
		c.stallReading(false)
		c.stallWriting(false)
	}
	for range 1200 { // longer than a handover takes
		if s.successor == nil {
			break
		}
		s.pass(50)
	}
	for range 300 { // 15 s: longer than any time limit of a plan but IdleTimeout
		s.pass(50)
		s.settle()
		if s.check(); len(s.problems) > 0 {
			return
		}
	}
	s.settle()
	s.check()
	for _, c := range s.clients {
		if _, _, _, ended := c.end.state(); c.struck() && !ended && s.net.fault.err != syscall.EPIPE {
			c.problem("an operation on its connection has failed, and the server keeps it")
		}
		if ids := c.unanswered(); len(ids) > 0 && !c.left && !c.ended {
			c.problem("calls are not answered: %v", ids)
		}
		if len(c.outbox) > 0 && !c.left && !c.ended {
			c.problem("%d bytes were not taken by the server", len(c.outbox))
		}
	}
	if len(s.problems) > 0 {
		return
	}
	if !s.stopping {
		s.shutdown(time.Second)
		s.settle()
	}
	if err := <-s.stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.problem("Shutdown returned %v", err)
	}
	s.settle()
	s.check()
}

// shutdown stops the server, on a goroutine of its own.
func (s *simulation) shutdown(timeout time.Duration) {
	s.note("shutdown within %s", timeout)
	s.stopping = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		s.stopped <- s.srv.Shutdown(ctx)
	}()
}
