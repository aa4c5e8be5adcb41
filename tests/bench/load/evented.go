package load

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// eventConn is a connection that is read and written without blocking.
type eventConn struct {
	fd      int
	session session
	out     []byte // what is not written yet
	owed    int    // calls to send once out is written
	writing bool   // epoll tells when there is room
}

// evented keeps the workload's window of calls in flight on each connection.
func (w *worker) evented(n int) error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	defer unix.Close(poll)
	conns := make([]*eventConn, n)
	for i := range conns {
		fd, err := dial(w.path, false)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		conns[i] = &eventConn{fd: fd, session: w.script.newSession(w), owed: w.script.w.Window}
	}
	for i, c := range conns {
		if err := c.flush(poll, i, now()); err != nil {
			return err
		}
	}
	return w.loop(poll, conns)
}

func (w *worker) loop(poll int, conns []*eventConn) error {
	events := make([]unix.EpollEvent, 64)
	stopping := false
	for {
		n, err := unix.EpollWait(poll, events, int(silence.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		if n == 0 {
			return errSilence
		}
		t := now()
		switch {
		case !w.counting && !stopping && t >= w.begin:
			w.start(t)
		case !stopping && t >= w.end:
			stopping = true
			w.stop(t)
		}
		for _, event := range events[:n] {
			i := int(event.Fd)
			if err := conns[i].serve(w, poll, i, event.Events, t, stopping); err != nil {
				return err
			}
		}
		if stopping && quiet(conns) {
			return nil
		}
	}
}

// quiet says whether every call was answered.
func quiet(conns []*eventConn) bool {
	for _, c := range conns {
		if c.session.inFlight() > 0 {
			return false
		}
	}
	return true
}

func (c *eventConn) serve(w *worker, poll, i int, events uint32, t int64, stopping bool) error {
	if events&^unix.EPOLLOUT != 0 {
		n, err := unix.Read(c.fd, w.buf)
		if err == nil && n == 0 {
			return errors.New("read: the server closed the connection")
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("read: %w", err)
		}
		t = now()
		replies, err := c.session.receive(w.buf[:max(n, 0)], t)
		if err != nil {
			return err
		}
		c.owed += replies
	}
	if stopping {
		c.owed = 0
	}
	return c.flush(poll, i, t)
}

// flush writes what there is to say, as far as there is room.
func (c *eventConn) flush(poll, i int, now int64) (err error) {
	for {
		if len(c.out) == 0 {
			if c.out, err = c.session.send(c.owed, now); err != nil {
				return err
			}
			c.owed = 0
		}
		if len(c.out) == 0 {
			return c.watch(poll, i, false)
		}
		n, err := unix.Write(c.fd, c.out)
		switch {
		case err == nil:
			c.out = c.out[n:]
		case errors.Is(err, unix.EAGAIN):
			return c.watch(poll, i, true)
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("write: %w", err)
		}
	}
}

// watch asks epoll to tell of room to write, or to stop telling.
func (c *eventConn) watch(poll, i int, writing bool) error {
	if c.writing == writing {
		return nil
	}
	c.writing = writing
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if writing {
		event.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(poll, unix.EPOLL_CTL_MOD, c.fd, &event); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}
