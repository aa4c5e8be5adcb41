package load

import "golang.org/x/sys/unix"

// serial calls on one connection, one call at a time, as a program does that
// waits for each reply.
func (w *worker) serial() error {
	fd, err := dial(w.path, w.large())
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	s := w.script.newSession(w)
	return w.oneByOne(func(t int64) error { return w.call(fd, s, t) })
}

// oneByOne repeats a call until the time is over. The last one may end late: it
// is counted whole. At least one call is counted, however slow it is.
func (w *worker) oneByOne(call func(t int64) error) error {
	for t := now(); t < w.end || w.latencies.n == 0; t = now() {
		if !w.counting && t >= w.begin {
			w.start(t)
		}
		if err := call(t); err != nil {
			return err
		}
	}
	w.stop(now())
	return nil
}

// call sends one call, which began at the time t, and waits for its reply.
func (w *worker) call(fd int, s session, t int64) error {
	out, err := s.send(1, t)
	if err != nil {
		return err
	}
	for {
		if err := writeAll(fd, out); err != nil {
			return err
		}
		n, err := read(fd, w.buf)
		if err != nil {
			return err
		}
		if _, err := s.receive(w.buf[:n], now()); err != nil {
			return err
		}
		if s.inFlight() == 0 {
			return nil
		}
		if out, err = s.send(0, 0); err != nil {
			return err
		}
	}
}

// connect makes a connection for each call, whose latency begins before it.
func (w *worker) connect() error {
	return w.oneByOne(func(t int64) error {
		fd, err := dial(w.path, false)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return w.call(fd, w.script.newSession(w), t)
	})
}

func (w *worker) large() bool { return w.script.w.MessageBytes() > 256<<10 }
