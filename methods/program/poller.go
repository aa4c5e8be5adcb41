package program

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quickWait is how long a wait may hold a thread. The runtime wakes a goroutine
// about 0.1 ms later than the kernel wakes a thread, which is a tenth of the
// life of a program that does next to nothing.
const quickWait = 5 * time.Millisecond

// poller waits for several descriptors at once: in its thread at first, and
// after quickWait by an epoll(7) of its own, which is itself waited for by that
// of the runtime, so that a program that takes longer holds no thread. One
// goroutine uses it, and closes it.
type poller struct {
	quick time.Time // until when a thread is held
	fds   []unix.PollFd

	file   *os.File // the epoll, once there is one
	raw    syscall.RawConn
	events [maxPolled]unix.EpollEvent
	n      int
	err    error
}

// maxPolled is stdin, stdout, stderr and the end of the program.
const maxPolled = 4

func newPoller() *poller {
	return &poller{quick: time.Now().Add(quickWait), fds: make([]unix.PollFd, 0, maxPolled)}
}

// add is called before the first wait. The events of poll(2) are those of
// epoll(7).
func (p *poller) add(fd int, events int16) {
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: events})
}

// remove is called before a descriptor is closed.
func (p *poller) remove(fd int) {
	for i := range p.fds {
		if p.fds[i].Fd == int32(fd) {
			p.fds[i].Fd = -1 // poll(2) passes over it
		}
	}
	if p.file != nil {
		_ = p.control(unix.EPOLL_CTL_DEL, fd, nil) // it was added
	}
}

func (p *poller) close() {
	if p.file != nil {
		_ = p.file.Close() // it holds nothing
	}
}

// wait calls ready for each descriptor that is: until it is used up, each wait
// does so again.
func (p *poller) wait(ready func(fd int)) error {
	if p.file == nil {
		left := time.Until(p.quick)
		n, err := 0, error(nil)
		if left > 0 {
			n, err = unix.Poll(p.fds, int(left/time.Millisecond)+1)
		}
		switch {
		case err == unix.EINTR:
			return nil
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n > 0:
			for _, fd := range p.fds {
				if fd.Revents != 0 && fd.Fd >= 0 {
					ready(int(fd.Fd))
				}
			}
			return nil
		}
		if err := p.handOver(); err != nil {
			return err
		}
	}
	if err := p.raw.Read(p.look); err != nil {
		return err
	}
	if p.err != nil {
		return os.NewSyscallError("epoll_wait", p.err)
	}
	for _, e := range p.events[:p.n] {
		ready(int(e.Fd))
	}
	return nil
}

// handOver has the runtime wait from now on.
func (p *poller) handOver() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	// What does not block is what the runtime takes in.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	p.file = os.NewFile(uintptr(fd), "epoll")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return err
	}
	for _, polled := range p.fds {
		if polled.Fd < 0 {
			continue
		}
		if err := p.control(unix.EPOLL_CTL_ADD, int(polled.Fd), &unix.EpollEvent{Events: uint32(polled.Events), Fd: polled.Fd}); err != nil {
			return err
		}
	}
	return nil
}

func (p *poller) control(op, fd int, event *unix.EpollEvent) (err error) {
	controlErr := p.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), op, fd, event) })
	if controlErr != nil {
		return controlErr
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// look reports whether there is something to return.
func (p *poller) look(epoll uintptr) bool {
	for {
		if p.n, p.err = unix.EpollWait(int(epoll), p.events[:], 0); p.err != unix.EINTR {
			return p.n != 0 // -1 is an error
		}
	}
}
