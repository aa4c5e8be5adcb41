package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// measure does the attack and returns what was seen of it.
func (a attack) measure(t *testing.T, f form) result {
	program := "marianned"
	if a.program != "" {
		program = a.program
	}
	s := serve(t, program, a.shell, strings.Fields(*moreFlags)...)
	bystander := startBystander(t, s.path)
	bystander.phase("before")
	last(f.before)
	quiet := s.status()
	start, err := memoryOf(s.cmd.Process.Pid)
	require.NoError(t, err)

	bystander.phase("attack")
	watch := s.watch()
	used := processorTime(t, s.cmd.Process.Pid)
	busy, all := machineTime(t)
	attackers := a.start(t, s.path, f.attack)
	for _, p := range attackers {
		p.wait()
	}
	nowBusy, nowAll := machineTime(t)
	r := result{attack: a, start: start, load: load{
		share: (nowBusy - busy).Seconds() / (nowAll - all).Seconds(),
		cores: []float64{(processorTime(t, s.cmd.Process.Pid) - used).Seconds() / f.attack.Seconds()},
	}}
	for _, p := range attackers {
		r.load.cores = append(r.load.cores, p.cores())
	}

	bystander.phase("after")
	over := time.Now()
	r.left = s.settle(quiet)
	last(f.rest - time.Since(over))
	r.seen = watch()
	if r.end, err = memoryOf(s.cmd.Process.Pid); err != nil {
		r.seen.err = err
		return r
	}
	total := s.status()
	r.refusals = difference(total.Refusals, quiet.Refusals)
	total.Refusals = r.refusals
	total.TotalRequests -= quiet.TotalRequests
	total.TotalConnections -= quiet.TotalConnections
	r.happened = a.happened(r.seen.high, total)
	if newcomer, err := dial(t, s.path); err != nil {
		r.left = "new clients are not served: " + err.Error()
	} else if _, err = newcomer.status(); err != nil {
		r.left = "new clients are not served: " + err.Error()
	}
	r.bystander = bystander.end()
	r.log = strings.Count(s.said(), "\n") / int(f.attack.Seconds())
	s.ends()
	if f.bounds.compare(r) {
		r.raw = r.load.besideRawEcho(t, f)
	}
	return r
}

// last lets a phase of a measurement last so long.
func last(d time.Duration) { <-time.After(d) }

// start starts one attacker of each uid.
func (a attack) start(t *testing.T, path string, duration time.Duration) []*process {
	var attackers []*process
	for i := range a.uids {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		args := []string{"-connections", fmt.Sprint(a.each), "-for", duration.String(), "-seed", fmt.Sprint(s), path, a.name}
		t.Log("attacker", strings.Join(args, " "))
		attackers = append(attackers, command(t, uint32(attackerUID+i), "attacker", args...).start())
	}
	return attackers
}

// settleTimeout is how long the server may take to be as before an attack: the
// longest that a call can wait for its slot (QueueTimeout), and some.
const settleTimeout = 35 * time.Second

// settle waits until nothing is left of the attack. It returns what is, if that
// does not happen.
func (s *server) settle(quiet status) string {
	deadline := time.Now().Add(settleTimeout)
	for {
		now, err := s.root.status()
		if err != nil {
			return err.Error()
		}
		if now.Connections <= quiet.Connections && now.Waiting+now.Queued+now.Streams+now.BufferedBytes == 0 && now.Running <= 1 {
			return "" // one call may be the bystander's
		}
		if time.Now().After(deadline) {
			return fmt.Sprintf("%s after the attack: %+v; before it: %+v", settleTimeout, now, quiet)
		}
		last(20 * time.Millisecond)
	}
}

// seen is what root saw during an attack.
type seen struct {
	high    status // of each count, the highest
	slowest time.Duration
	err     error
}

// runaway is where a server is ended that would take the machine with it.
const runaway = 1 << 30

// watch asks the server for its status, and the kernel for its memory, until the
// function that it returns is called.
func (s *server) watch() func() seen {
	stop, done := make(chan struct{}), make(chan seen, 1)
	go func() {
		var w seen
		for w.err == nil {
			select {
			case <-stop:
				done <- w
				return
			case <-time.After(20 * time.Millisecond):
			}
			w.look(s)
		}
		done <- w
	}()
	return func() seen {
		close(stop)
		return <-done
	}
}

func (w *seen) look(s *server) {
	m, err := memoryOf(s.cmd.Process.Pid)
	if err == nil && m.resident > runaway {
		_ = s.cmd.Process.Kill()
		err = fmt.Errorf("ended: its memory had grown to %d MiB", m.resident/mib)
	}
	begin := time.Now()
	var now status
	if err == nil {
		now, err = s.root.status()
	}
	if err != nil {
		w.err = err
		return
	}
	w.slowest = max(w.slowest, time.Since(begin))
	w.high = status{
		Connections:   max(w.high.Connections, now.Connections),
		Waiting:       max(w.high.Waiting, now.Waiting),
		Running:       max(w.high.Running, now.Running),
		Queued:        max(w.high.Queued, now.Queued),
		Streams:       max(w.high.Streams, now.Streams),
		BufferedBytes: max(w.high.BufferedBytes, now.BufferedBytes),
	}
}

func difference(after, before map[string]int) map[string]int {
	d := map[string]int{}
	for reason, n := range after {
		if n -= before[reason]; n != 0 {
			d[reason] = n
		}
	}
	return d
}

// load is what an attack used of the machine's processors.
type load struct {
	share float64   // of all of them that was busy, whoever it was
	cores []float64 // that the server and each attacker used
}

func (l load) saturated() bool { return l.share > 0.9 }

// besideRawEcho returns the bystander's p99 while rawecho serves it, and a burner
// stands for the server under attack and for each attacker: each of its uid, with
// its number of threads, and with its use of the processors.
func (l load) besideRawEcho(t *testing.T, f form) time.Duration {
	path := socketPath(t)
	command(t, daemonUID, "rawecho", path).start()
	awaitSocket(t, path)
	bystander := startBystander(t, "-raw", path)
	duration := min(f.attack, 10*time.Second)
	for i, cores := range l.cores {
		uid := uint32(daemonUID)
		if i > 0 {
			uid = uint32(attackerUID + i - 1)
		}
		command(t, uid, "attacker", "-cores", fmt.Sprint(cores), "-for", (duration + time.Minute).String(), "", "burn").start()
	}
	bystander.phase("attack")
	last(duration)
	bystander.phase("after")
	return bystander.end()["attack"]["calls"].P99
}
