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
	r := result{attack: a}
	quiet := s.warm(t)
	r.start = quiet.memory

	bystander := startBystander(t, s.path)
	bystander.phase("before")
	last(f.before)
	bystander.phase("attack")
	watch := s.watch()
	used := processorTime(t, s.cmd.Process.Pid)
	busy, all := machineTime(t)
	attackers := a.start(t, s.path, f.attack)
	for _, p := range attackers {
		p.wait()
	}
	over := time.Now()
	bystander.phase("after")
	nowBusy, nowAll := machineTime(t)
	r.load.share = (nowBusy - busy).Seconds() / (nowAll - all).Seconds()
	if r.seen = watch(); r.seen.err != nil {
		return r
	}
	r.load.cores = append(r.load.cores, (processorTime(t, s.cmd.Process.Pid)-used).Seconds()/f.attack.Seconds())
	for _, p := range attackers {
		r.load.cores = append(r.load.cores, p.cores())
	}
	r.bystander = bystander.end()

	r.left = s.settle(quiet, over)
	last(f.rest - time.Since(over))
	var err error
	r.end, err = memoryOf(s.cmd.Process.Pid)
	require.NoError(t, err)
	total := s.status()
	r.refusals = difference(total.Refusals, quiet.Refusals)
	total.Refusals = r.refusals
	total.TotalRequests -= quiet.TotalRequests
	total.TotalConnections -= quiet.TotalConnections
	r.happened = a.happened(r.seen.high, total)
	if newcomer, err := dial(t, s.path); err != nil {
		r.left += " a new client is not served: " + err.Error()
	} else if _, err = newcomer.status(); err != nil {
		r.left += " a new client is not served: " + err.Error()
	}
	r.left += s.stops()
	r.log = strings.Count(s.said(), "\n") / int(f.attack.Seconds())
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

// quiet is a server that nobody uses.
type quiet struct {
	status
	memory
}

// warm lets ordinary clients use the server, and returns how it is afterwards:
// with the pages of its program that were read, and what the runtime keeps of
// threads and goroutines for ever.
func (s *server) warm(t *testing.T) quiet {
	t.Helper()
	q := quiet{status: s.status()}
	attack{name: "ordinary", uids: 2, each: 25}.start(t, s.path, time.Second)
	require.Eventually(t, func() bool { return s.status().Connections >= 40 }, patience, time.Millisecond)
	require.Empty(t, s.settle(q, time.Now()))
	q.status = s.status()
	var err error
	q.memory, err = memoryOf(s.cmd.Process.Pid)
	require.NoError(t, err)
	return q
}

// settleTimeout is how long the server may take to be as before an attack. It is
// more than a call can wait for its slot (QueueTimeout): calls of clients that are
// gone are still made.
const settleTimeout = time.Minute

// settle waits until the server is as quiet as q after an attack was over. It
// returns which count is not, if that does not happen; memory is the caller's to
// look at.
func (s *server) settle(q quiet, over time.Time) string {
	deadline := time.After(settleTimeout - time.Since(over))
	for {
		now, err := s.root.status()
		if err != nil {
			return err.Error()
		}
		m, err := memoryOf(s.cmd.Process.Pid)
		if err != nil {
			return err.Error()
		}
		counted := now.Connections > q.Connections || now.Waiting+now.Running+now.Queued+now.Streams+now.BufferedBytes > 0
		if !counted && (q.resident == 0 || grown(q.memory, m) <= maxGrown) {
			return ""
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			if !counted {
				return ""
			}
			return fmt.Sprintf("%s after the attack: %+v; before it: %+v", settleTimeout, now, q.status)
		}
	}
}

// seen is what root saw during an attack.
type seen struct {
	high    status // of each count, the highest
	slowest time.Duration
	unread  int // bytes of output in the kernel, at most
	service int // bytes of memory of the process and of that, at most
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
			case <-time.After(50 * time.Millisecond):
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
	var unread int
	if err == nil {
		unread, err = unreadOutput(s.cmd.Process.Pid)
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
	w.unread, w.service = max(w.unread, unread), max(w.service, m.resident+unread)
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
