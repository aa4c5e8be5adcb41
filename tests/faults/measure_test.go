package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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
	began := time.Now()
	attackers := a.start(t, s.path)
	last(f.attack)
	felt := func(high, now status) bool { return a.happened(high, now.since(quiet.status)) }
	for !watch.felt(felt) && time.Since(began) < f.attack+patience {
		last(50 * time.Millisecond) // a machine that has much else to do
	}
	for _, p := range attackers {
		p.interrupt()
	}
	for _, p := range attackers {
		p.wait()
	}
	over := time.Now()
	took := over.Sub(began)
	bystander.phase("after")
	nowBusy, nowAll := machineTime(t)
	r.load.share = (nowBusy - busy).Seconds() / (nowAll - all).Seconds()
	if r.seen = watch.end(); r.seen.err != nil {
		return r
	}
	r.load.cores = append(r.load.cores, (processorTime(t, s.cmd.Process.Pid)-used).Seconds()/took.Seconds())
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
	r.refusals = total.since(quiet.status).Refusals
	r.happened = felt(r.seen.high, total)
	if newcomer, err := dial(t, s.path); err != nil {
		r.left += " a new client is not served: " + err.Error()
	} else if _, err = newcomer.status(); err != nil {
		r.left += " a new client is not served: " + err.Error()
	}
	r.left += s.stops()
	r.log = strings.Count(s.said(), "\n") / int(took.Seconds())
	if f.bounds.compare(r) {
		r.raw = r.load.besideRawEcho(t, f)
	}
	return r
}

// last lets a phase of a measurement last so long.
func last(d time.Duration) { <-time.After(d) }

// start starts one attacker of each uid, to be interrupted.
func (a attack) start(t *testing.T, path string) []*process {
	var attackers []*process
	for i := range a.uids {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		args := []string{"-connections", fmt.Sprint(a.each), "-for", "10m", "-seed", fmt.Sprint(s), path, a.name}
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

// ordinaryCalls is what ordinary clients call before an attack: as much as they do
// in a second where the machine has nothing else to do. With fewer, the runtime
// would not have come to the size that its heap has in use.
const ordinaryCalls = 100_000

// warm lets ordinary clients use the server, and returns how it is afterwards:
// with the pages of its program that were read, and what the runtime keeps of
// threads and goroutines for ever. Its memory is that of the moment at which they
// are gone: seconds later, unused, it would have given some back.
func (s *server) warm(t *testing.T) quiet {
	t.Helper()
	q := quiet{status: s.status()}
	clients := attack{name: "ordinary", uids: 2, each: 25}.start(t, s.path)
	require.Eventually(t, func() bool {
		st := s.status()
		return st.Connections >= 40 && st.TotalRequests >= ordinaryCalls
	}, patience, 10*time.Millisecond)
	for _, p := range clients {
		p.interrupt()
	}
	m, err := memoryOf(s.cmd.Process.Pid)
	require.NoError(t, err)
	require.Empty(t, s.settle(q, time.Now()))
	return quiet{status: s.status(), memory: m}
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

// watch asks the server for its status, and the kernel for its memory, until it is
// ended.
type watch struct {
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex
	seen seen
	now  status
}

func (s *server) watch() *watch {
	w := &watch{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for w.look(s) {
			select {
			case <-w.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return w
}

// end returns what was seen.
func (w *watch) end() seen {
	close(w.stop)
	<-w.done
	return w.seen
}

// felt reports whether the server has felt an attack so far, or is gone.
func (w *watch) felt(happened func(high, now status) bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.err != nil || happened(w.seen.high, w.now)
}

// look looks once. It returns false if there is nothing to look at any more.
func (w *watch) look(s *server) bool {
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
	took := time.Since(begin)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.seen.err = err
		return false
	}
	w.now = now
	w.seen.add(m, unread, now, took)
	return true
}

func (s *seen) add(m memory, unread int, now status, took time.Duration) {
	s.unread, s.service = max(s.unread, unread), max(s.service, m.resident+unread)
	s.slowest = max(s.slowest, took)
	s.high = status{
		Connections:   max(s.high.Connections, now.Connections),
		Waiting:       max(s.high.Waiting, now.Waiting),
		Running:       max(s.high.Running, now.Running),
		Queued:        max(s.high.Queued, now.Queued),
		Streams:       max(s.high.Streams, now.Streams),
		BufferedBytes: max(s.high.BufferedBytes, now.BufferedBytes),
	}
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
