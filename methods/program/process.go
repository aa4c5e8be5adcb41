package program

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killDelay is how long a program may take to end after SIGTERM.
const killDelay = 500 * time.Millisecond

// process is one running program, until it is reaped.
type process struct {
	pid int

	mu       sync.Mutex
	reaped   bool
	stopping *time.Timer // set by the first stop
}

// signal sends a signal to the whole group. Its number is the program's pid,
// which the kernel gives to nobody else before we have reaped the program.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signalLocked(sig)
}

func (p *process) signalLocked(sig syscall.Signal) {
	if !p.reaped {
		_ = unix.Kill(-p.pid, sig) // fails if the group is gone, which is what is wanted
	}
}

// stop ends the group: politely, and after killDelay by force.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping != nil || p.reaped {
		return
	}
	p.signalLocked(unix.SIGTERM)
	p.signalLocked(unix.SIGCONT) // one that is stopped could not end
	p.stopping = time.AfterFunc(killDelay, func() { p.signal(unix.SIGKILL) })
}

// wasStopped reports whether the program did not end by itself.
func (p *process) wasStopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopping != nil
}

// reap ends what is left of the group, and takes the exit status of the program,
// which has ended.
func (p *process) reap() (status syscall.WaitStatus, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signalLocked(unix.SIGKILL)
	if p.stopping != nil {
		p.stopping.Stop()
	}
	for {
		if _, err = syscall.Wait4(p.pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	p.reaped = true
	return status, err
}

// awaitExit waits until the program has ended, and leaves it to be reaped. It
// takes a thread: it is for kernels without pidfd.
func (p *process) awaitExit() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// Processes are the programs that run now. The zero value is none.
type Processes struct {
	mu      sync.Mutex
	calls   int // that have a program, or are about to start one
	live    map[*process]struct{}
	stopped bool
	quiet   chan struct{} // closed when stopped and calls is 0
	devNull *os.File
	users   users

	noPidfd bool // for tests: as if the kernel had none
}

// begin counts a call in; false after Stop.
func (ps *Processes) begin() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopped {
		return false
	}
	ps.calls++
	return true
}

// add takes in the process of a call that has begun.
func (ps *Processes) add(p *process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.live == nil {
		ps.live = make(map[*process]struct{})
	}
	ps.live[p] = struct{}{}
	if ps.stopped {
		p.stop()
	}
}

// end counts a call out; p is its process, or nil.
func (ps *Processes) end(p *process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.live, p)
	ps.calls--
	if ps.stopped && ps.calls == 0 {
		close(ps.quiet)
	}
}

// Stop ends all programs and lets none start any more. The channel is closed when
// all are gone: a little later than killDelay.
func (ps *Processes) Stop() <-chan struct{} {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.stopped {
		return ps.quiet
	}
	ps.stopped, ps.quiet = true, make(chan struct{})
	for p := range ps.live {
		p.stop()
	}
	if ps.calls == 0 {
		close(ps.quiet)
	}
	return ps.quiet
}
