package program

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller waits for several descriptors at once and holds no thread meanwhile: it
// is an epoll(7) of its own, which is itself waited for by that of the runtime.
// One goroutine uses it, and closes it.
type poller struct {
	file   *os.File
	raw    syscall.RawConn
	fd     int
	events [4]unix.EpollEvent
	n      int
	err    error
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// What does not block is what the runtime takes in.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() { _ = p.file.Close() } // it holds nothing

func (p *poller) add(fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

// wait returns the descriptors that are ready: until they are used up, each call
// returns them again. One that is closed is forgotten by itself.
func (p *poller) wait() ([]unix.EpollEvent, error) {
	if err := p.raw.Read(p.ready); err != nil {
		return nil, err
	}
	return p.events[:p.n], p.err
}

func (p *poller) ready(uintptr) bool {
	for {
		p.n, p.err = unix.EpollWait(p.fd, p.events[:], 0)
		if p.err == unix.EINTR {
			continue
		}
		return p.n != 0 // -1 is an error
	}
}
