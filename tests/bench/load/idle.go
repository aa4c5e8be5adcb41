package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// Idle opens the connections of the target's workload, calls once on each, and
// leaves them alone for the time settle. It returns by how much memory grew for
// each of them, the first one not counted, which paid for what all need. Then it
// calls on each once more: a connection that was dropped would weigh nothing.
func Idle(t Target, settle time.Duration, memory func() (bytes int64, err error)) (perConnection float64, err error) {
	w := &worker{script: newScript(t.Workload, t.Dialect), path: t.Path, buf: make([]byte, bufferBytes)}
	fds := make([]int, 0, t.Workload.Conns)
	sessions := make([]session, 0, t.Workload.Conns)
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	open := func() error {
		fd, err := dial(t.Path, false)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		sessions = append(sessions, w.script.newSession(w))
		return w.call(fd, sessions[len(sessions)-1], now())
	}
	if err := open(); err != nil {
		return 0, err
	}
	time.Sleep(settle)
	before, err := memory()
	if err != nil {
		return 0, err
	}
	for len(fds) < t.Workload.Conns {
		if err := open(); err != nil {
			return 0, err
		}
	}
	time.Sleep(settle)
	after, err := memory()
	if err != nil {
		return 0, err
	}
	for i, fd := range fds {
		if err := w.call(fd, sessions[i], now()); err != nil {
			return 0, err
		}
	}
	return float64(after-before) / float64(len(fds)-1), nil
}
