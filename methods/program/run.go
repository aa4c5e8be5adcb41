package program

import (
	"bytes"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/methods/backend"
)

// run is one run of a program, from its start to its end. One goroutine, that of
// its call, does all of it.
type run struct {
	program *Program
	call    *backend.Call
	process *process

	poll   *poller
	fds    pipes
	pidfd  int // readable once the program has ended
	input  []byte
	output []byte // of a stream: the line that is not complete
	stderr tail

	lines    int
	tooLarge bool
	scratch  [4 << 10]byte
}

// start starts the program. When it fails nothing of it is left.
func (r *run) start(argv []string) (err error) {
	p := r.program
	if r.poll, err = newPoller(); err != nil {
		return err
	}
	null, err := p.processes.null()
	var theirs pipes
	if err == nil {
		r.fds, theirs, err = openPipes(p.stdin, null)
	}
	if err != nil {
		r.poll.close()
		return err
	}
	pid, pidfd, err := spawn(argv, p.environ(r.call), p.directory, theirs)
	theirs.closeButNull(null)
	if err != nil {
		r.fds.close()
		r.poll.close()
		return err
	}
	r.process = &process{pid: pid}
	p.processes.add(r.process)
	if r.pidfd = pidfd; pidfd < 0 {
		r.pidfd, err = r.process.exitPipe()
	}
	if p.stdin {
		r.input = r.call.Params
	}
	return r.watch(err)
}

// watch begins to wait for what the program does. It ends a program that could
// not be waited for.
func (r *run) watch(err error) error {
	add := func(fd int, events uint32) {
		if err == nil && fd >= 0 {
			err = r.poll.add(fd, events)
		}
	}
	add(r.pidfd, unix.EPOLLIN)
	add(r.fds.stdout, unix.EPOLLIN)
	add(r.fds.stderr, unix.EPOLLIN)
	r.feed()
	add(r.fds.stdin, unix.EPOLLOUT)
	if err != nil {
		r.process.signal(unix.SIGKILL)
		r.process.awaitExit()
		_, _ = r.process.reap() // err is what matters
		r.close()
	}
	return err
}

func (r *run) close() {
	r.fds.close()
	closeFD(&r.pidfd)
	r.poll.close()
}

// maxDrains bounds the reads of what is left in a pipe: one of 1 MiB, the most
// that pipe(7) has, is read in fewer. Somebody may be writing still.
const maxDrains = 1024

// wait serves the program until it has ended. What it has written before is
// complete then; what it has started ends with it.
func (r *run) wait() (syscall.WaitStatus, error) {
	defer r.close()
	for exited := false; !exited; {
		events, err := r.poll.wait()
		if err != nil {
			r.process.signal(unix.SIGKILL)
			r.process.awaitExit()
			_, _ = r.process.reap() // err is what matters
			return 0, err
		}
		for _, e := range events {
			switch int(e.Fd) {
			case r.pidfd:
				exited = true
			case r.fds.stdout:
				r.readOutput()
			case r.fds.stderr:
				r.readStderr()
			case r.fds.stdin:
				r.feed()
			}
		}
	}
	status, err := r.process.reap()
	for n := 0; n < maxDrains && r.readOutput(); n++ {
	}
	for n := 0; n < maxDrains && r.readStderr(); n++ {
	}
	if r.fds.stdout >= 0 || r.fds.stderr >= 0 || r.process.wasStopped() {
		killEscaped(r.call.RequestID)
	}
	if r.program.stream && len(r.output) > 0 {
		r.emit(r.output)
	}
	return status, err
}

// feed writes what the program takes of its input, and closes it after the last
// byte, or when nobody reads any more.
func (r *run) feed() {
	for r.fds.stdin >= 0 {
		n, err := 0, error(nil)
		if len(r.input) > 0 {
			n, err = unix.Write(r.fds.stdin, r.input)
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err == nil && n < len(r.input):
			r.input = r.input[n:]
		default:
			closeFD(&r.fds.stdin)
		}
	}
}

// read reads once, as far as b goes. more says that there may be more.
func read(fd *int, b []byte) (n int, more bool) {
	for *fd >= 0 {
		n, err := unix.Read(*fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, false
		case err != nil || n == 0:
			closeFD(fd)
			return 0, false
		}
		return n, true
	}
	return 0, false
}

func (r *run) readStderr() (more bool) {
	n, more := read(&r.fds.stderr, r.scratch[:])
	r.stderr.write(r.scratch[:n])
	return more
}

// readOutput reads what the program has written to stdout. At the bound it ends
// the program.
func (r *run) readOutput() (more bool) {
	if len(r.output) == cap(r.output) {
		// One byte more than the bound tells that it is passed.
		grown := make([]byte, len(r.output), min(max(2*cap(r.output), len(r.scratch)), r.program.maxOutput+1))
		copy(grown, r.output)
		r.output = grown
	}
	n, more := read(&r.fds.stdout, r.output[len(r.output):cap(r.output)])
	r.output = r.output[:len(r.output)+n]
	if r.program.stream {
		r.emitLines()
	}
	if len(r.output) > r.program.maxOutput {
		r.tooLarge = true
		r.output = nil
		closeFD(&r.fds.stdout)
		r.process.stop()
		return false
	}
	return more
}

// emitLines sends the complete lines.
func (r *run) emitLines() {
	rest := r.output
	for {
		line, after, found := bytes.Cut(rest, newline)
		if !found {
			break
		}
		r.emit(line)
		rest = after
	}
	r.output = append(r.output[:0], rest...)
}

// emit sends one line as an event.
func (r *run) emit(line []byte) {
	params, err := formatLine(r.program.result, line)
	if err != nil {
		r.call.Log.WithError(err).Warn("a line of the program's output is left out")
		return
	}
	r.lines++
	if err := r.call.Emit(r.program.event, params); err != nil {
		r.process.stop() // the stream has ended, or the line does not fit into it
	}
}
