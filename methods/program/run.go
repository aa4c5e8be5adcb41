package program

import (
	"bytes"
	"sync"
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
	theirs pipes // kept open: an end of file would wake us in the midst of the program's exit
	pidfd  int   // readable once the program has ended
	input  []byte
	output []byte // of a stream: the line that is not complete
	stderr tail

	exited   bool
	lines    int
	tooLarge bool
}

// scratches are what programs are read into. One is held as long as a read takes,
// not as long as a run: most programs say little or nothing, and new memory is
// dearer than their output.
var scratches = sync.Pool{New: func() any { return new(scratch) }}

type scratch [4 << 10]byte

// start starts the program. When it fails nothing of it is left.
func (r *run) start(argv []string) (err error) {
	p := r.program
	null, err := p.processes.null()
	if err != nil {
		return err
	}
	ours, theirs, err := openPipes(p.stdin, null)
	if err != nil {
		return err
	}
	var pid, pidfd int
	if argv, err = p.limited(argv); err == nil {
		err = p.withNice(func() (err error) {
			pid, pidfd, err = spawn(argv, p.environ(r.call), p.directory, p.credential, theirs)
			return err
		})
	}
	theirs.closeStdin(null) // a write must fail when nobody reads any more
	if err != nil {
		theirs.close()
		ours.close()
		return err
	}
	r.process, r.fds, r.theirs = &process{pid: pid}, ours, theirs
	p.processes.add(r.process)
	if r.pidfd = pidfd; pidfd < 0 || p.processes.noPidfd {
		closeFD(&r.pidfd)
		if r.pidfd, err = r.process.exitPipe(); err != nil {
			r.giveUp()
			return err
		}
	}
	r.poll = newPoller()
	r.poll.add(r.pidfd, unix.POLLIN)
	r.poll.add(r.fds.stdout, unix.POLLIN)
	r.poll.add(r.fds.stderr, unix.POLLIN)
	if p.stdin {
		r.input = r.call.Params
		r.poll.add(r.fds.stdin, unix.POLLOUT)
		r.feed()
	}
	return nil
}

// giveUp ends a program that can not be waited for.
func (r *run) giveUp() {
	r.process.signal(unix.SIGKILL)
	r.process.awaitExit()
	_, _ = r.process.reap() // it is of no interest any more
	r.close()
}

func (r *run) close() {
	r.fds.close()
	r.theirs.close()
	closeFD(&r.pidfd)
	if r.poll != nil {
		r.poll.close()
	}
}

// closePipe closes one that has come to its end.
func (r *run) closePipe(fd *int) {
	if *fd >= 0 {
		r.poll.remove(*fd)
		closeFD(fd)
	}
}

// maxDrains bounds the reads of what is left in a pipe: one of 1 MiB, the most
// that pipe(7) has, is read in fewer. Somebody may be writing still.
const maxDrains = 1024

// wait serves the program until it has ended. What it has written before is
// complete then; what it has started ends with it.
func (r *run) wait() (syscall.WaitStatus, error) {
	for !r.exited {
		if err := r.poll.wait(r.serve); err != nil {
			r.giveUp()
			return 0, err
		}
	}
	defer r.close()
	status, err := r.process.reap()
	r.drain()
	if r.process.wasStopped() && r.program.credential == nil { // else the unit has all of it, and ends it
		killEscaped(r.call.RequestID)
	}
	if r.program.stream && len(r.output) > 0 {
		r.emit(r.output)
	}
	return status, err
}

// drain reads what is left in the pipes.
func (r *run) drain() {
	for n := 0; n < maxDrains && r.readOutput(); n++ {
	}
	for n := 0; n < maxDrains && r.readStderr(); n++ {
	}
}

// serve does what can be done about one descriptor.
func (r *run) serve(fd int) {
	switch fd {
	case r.pidfd:
		r.exited = true
	case r.fds.stdout:
		r.readOutput()
	case r.fds.stderr:
		r.readStderr()
	case r.fds.stdin:
		r.feed()
	}
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
			r.closePipe(&r.fds.stdin)
		}
	}
}

// read reads once, as far as b goes. more says that there may be more.
func (r *run) read(fd *int, b []byte) (n int, more bool) {
	for *fd >= 0 {
		n, err := unix.Read(*fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, false
		case err != nil || n == 0:
			r.closePipe(fd)
			return 0, false
		}
		return n, true
	}
	return 0, false
}

func (r *run) readStderr() (more bool) {
	scratch := scratches.Get().(*scratch)
	defer scratches.Put(scratch)
	n, more := r.read(&r.fds.stderr, scratch[:])
	r.stderr.write(scratch[:n])
	return more
}

// readOutput reads what the program has written to stdout. At the bound it ends
// the program.
func (r *run) readOutput() (more bool) {
	n, most := 0, r.program.maxOutput+1 // one byte more than the bound tells that it is passed
	if cap(r.output) == 0 {
		scratch := scratches.Get().(*scratch)
		n, more = r.read(&r.fds.stdout, scratch[:min(len(scratch), most)])
		r.output = append(r.output, scratch[:n]...)
		scratches.Put(scratch)
	} else {
		if len(r.output) == cap(r.output) {
			grown := make([]byte, len(r.output), min(max(2*cap(r.output), len(scratch{})), most))
			copy(grown, r.output)
			r.output = grown
		}
		n, more = r.read(&r.fds.stdout, r.output[len(r.output):cap(r.output)])
		r.output = r.output[:len(r.output)+n]
	}
	if r.program.stream {
		r.emitLines()
	}
	if len(r.output) > r.program.maxOutput {
		r.tooLarge = true
		r.output = nil
		r.closePipe(&r.fds.stdout)
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
