package worker

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipe is our end of one that a worker has the other end of. Close ends a Read
// or a Write that waits.
type pipe interface {
	io.Closer
	SetReadDeadline(time.Time) error
}

// child is what a process is of the operating system.
type child struct {
	stdin interface {
		io.Writer
		io.Closer
	}
	stdout, stderr interface {
		io.Reader
		pipe
	}
	pid int
	// signal reaches the whole group, for as long as wait has not returned.
	signal func(syscall.Signal)
	// wait returns once the process has ended, with what was left of its group,
	// and says how. It is called once.
	wait func() string
}

// start starts the worker's program as the leader of a group of its own.
func (s *Settings) start() (*child, error) {
	c := exec.Command(s.Command[0], s.Command[1:]...)
	c.Dir, c.Env = s.Directory, s.Environment
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, stdout, stderr, err := openPipes(c)
	defer closeAll(c.Stdin, c.Stdout, c.Stderr)
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		closeAll(stdin, stdout, stderr)
		return nil, err
	}
	g := &group{command: c}
	return &child{stdin: stdin, stdout: stdout, stderr: stderr, pid: c.Process.Pid, signal: g.signal, wait: g.wait}, nil
}

// openPipes makes the pipes of a program. Its ends are those in c.
func openPipes(c *exec.Cmd) (stdin, stdout, stderr *os.File, err error) {
	var theirs *os.File
	if theirs, stdin, err = os.Pipe(); err != nil {
		return
	}
	c.Stdin = theirs
	if stdout, theirs, err = os.Pipe(); err != nil {
		return
	}
	c.Stdout = theirs
	if stderr, theirs, err = os.Pipe(); err != nil {
		return
	}
	c.Stderr = theirs
	return
}

// closeAll closes the files among its arguments.
func closeAll(files ...any) {
	for _, f := range files {
		if file, ok := f.(*os.File); ok && file != nil {
			_ = file.Close() // what was written is in the pipe
		}
	}
}

// group is the process group of a running program.
type group struct {
	command *exec.Cmd

	mu     sync.Mutex
	reaped bool
}

// signal reaches all of the group. Its number is the program's pid, which the
// kernel gives to nobody else before the program is reaped.
func (g *group) signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.reaped {
		_ = unix.Kill(-g.command.Process.Pid, sig) // fails if the group is gone, which is what is wanted
	}
}

// wait holds a thread until the program ends: there is one for each worker.
func (g *group) wait() string {
	for {
		if err := unix.Waitid(unix.P_PID, g.command.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			break
		}
	}
	g.signal(unix.SIGKILL)
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.command.Wait()
	g.reaped = true
	if g.command.ProcessState == nil {
		return fmt.Sprintf("its end is not known: %v", err)
	}
	return g.command.ProcessState.String()
}
