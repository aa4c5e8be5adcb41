package rpc

import "time"

// armRead sets the time at which waiting for input ends, or reports that it has
// come; passed says that the time set before has. What finds it is not on the stack
// meanwhile, as of step.
func (c *conn) armRead(rd *reader, passed bool) error {
	until, err := c.readUntil(rd, passed)
	if err != nil || until.IsZero() {
		return err
	}
	rd.deadline = until
	return c.nc.SetReadDeadline(until)
}

// readUntil returns the time at which waiting for input ends, if it has to be set.
// Setting a deadline costs more than a small call: one that is too early stays, and
// is looked at again when it passes.
//
//go:noinline
func (c *conn) readUntil(rd *reader, passed bool) (until time.Time, err error) {
	limits := c.limits()
	if rd.frames.partial() {
		now := time.Now()
		if !passed {
			rd.frames.readAgain(now)
		}
		until = rd.frames.started.Add(limits.FrameTimeout)
		if !until.After(now) {
			return until, errFrameTimeout
		}
		if !passed && !rd.deadline.IsZero() && !rd.deadline.After(until) {
			return time.Time{}, nil // what has passed may be that of the idle connection
		}
		return until, nil
	}
	if !passed && rd.deadline.After(rd.frames.now) {
		return time.Time{}, nil // armed by an earlier wait
	}
	c.mu.Lock()
	last, busy := c.opened.Add(c.active), c.taken.Load() > 0
	c.mu.Unlock()
	now := time.Now()
	if rd.frames.now.After(last) {
		last = rd.frames.now
	}
	if busy {
		last = now
	}
	until = last.Add(limits.IdleTimeout)
	if !until.After(now) {
		return until, errIdle
	}
	return until, nil
}
