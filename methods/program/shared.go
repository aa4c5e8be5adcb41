package program

import (
	"os"

	"golang.org/x/sys/unix"
)

// null returns a descriptor of /dev/null for reading, which all programs share.
func (ps *Processes) null() (int, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.devNull == nil {
		file, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
		if err != nil {
			return -1, err
		}
		ps.devNull = file
	}
	return int(ps.devNull.Fd()), nil
}

// exitPipe returns a descriptor that becomes readable when the program has ended,
// for kernels without pidfd (before 5.4).
func (p *process) exitPipe() (int, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("pipe2", err)
	}
	go func() {
		p.awaitExit()
		_ = unix.Close(fds[1])
	}()
	return fds[0], nil
}
