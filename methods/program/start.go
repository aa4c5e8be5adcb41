package program

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipes are our ends of what the program has open, -1 where there is none. All
// close on exec.
type pipes struct{ stdin, stdout, stderr int }

func (p *pipes) close() {
	for _, fd := range []*int{&p.stdin, &p.stdout, &p.stderr} {
		closeFD(fd)
	}
}

func closeFD(fd *int) {
	if *fd >= 0 {
		_ = unix.Close(*fd) // nothing is lost: what was written is in the pipe
		*fd = -1
	}
}

// openPipes makes the pipes of a program. Only our ends do not block: the
// program expects those that do.
func openPipes(withStdin bool, null int) (ours pipes, theirs pipes, err error) {
	ours, theirs = pipes{-1, -1, -1}, pipes{null, -1, -1}
	defer func() {
		if err != nil {
			ours.close()
			theirs.closeBut(null)
		}
	}()
	if withStdin {
		theirs.stdin = -1
		if err = pipe(&theirs.stdin, &ours.stdin, &ours.stdin); err != nil {
			return ours, theirs, err
		}
	}
	if err = pipe(&ours.stdout, &theirs.stdout, &ours.stdout); err != nil {
		return ours, theirs, err
	}
	err = pipe(&ours.stderr, &theirs.stderr, &ours.stderr)
	return ours, theirs, err
}

// closeBut closes all but the null device.
func (p *pipes) closeBut(null int) {
	p.closeStdin(null)
	p.close()
}

// closeStdin closes it, unless it is the null device, which is everybody's.
func (p *pipes) closeStdin(null int) {
	if p.stdin == null {
		p.stdin = -1
	}
	closeFD(&p.stdin)
}

// pipe makes one; mine is the end that must not block.
func pipe(read, write, mine *int) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	*read, *write = fds[0], fds[1]
	return os.NewSyscallError("fcntl", unix.SetNonblock(*mine, true))
}

// spawn starts a program that leads a process group of its own. pidfd is -1
// where the kernel has none.
func spawn(argv, environment []string, directory string, credential *syscall.Credential, fds pipes) (pid, pidfd int, err error) {
	pidfd = -1
	pid, _, err = syscall.StartProcess(argv[0], argv, &syscall.ProcAttr{
		Dir:   directory,
		Env:   environment,
		Files: []uintptr{uintptr(fds.stdin), uintptr(fds.stdout), uintptr(fds.stderr)},
		Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd, Credential: credential},
	})
	return pid, pidfd, err
}
