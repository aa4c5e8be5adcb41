package rpc

import "time"

// To set a deadline costs more than a small call: the runtime wakes a thread, which
// finds that it waits for the clock from then on. So one that is too early stays, and
// is looked at again when it passes. And that of a new connection, which may be over in
// no time, is left to the sweeper, if it is awake: at its first look that finds nothing
// new there. As it goes to sleep, it looks once more.

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
//
//go:noinline
func (c *conn) readUntil(rd *reader, passed bool) (until time.Time, err error) {
	limits := c.limits()
	if rd.frames.partial() {
		c.endUnarmed()
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
	if !passed && (rd.deadline.After(rd.frames.now) || c.unarmed.Load() && !c.srv.sweeper.asleep.Load()) {
		return time.Time{}, nil // armed by an earlier wait, or by the sweeper's next look
	}
	c.mu.Lock()
	c.unarmed.Store(false)
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

// endUnarmed comes before the reader sets the first deadline itself, which is behind
// the sweeper's then.
func (c *conn) endUnarmed() {
	if c.unarmed.Load() {
		c.mu.Lock()
		c.unarmed.Store(false)
		c.mu.Unlock()
	}
}

// armIdle sets the deadline of a connection that waits without one, for the sweeper. It
// may be too early, while a call is in flight, or after one whose reply was written
// late: when it passes, the reader sets the right one.
func (c *conn) armIdle() {
	if !c.unarmed.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.unarmed.Load() {
		return
	}
	defer c.unarmed.Store(false) // who sees that sets another, which must not be overtaken
	if c.readDone || c.parked || c.closed {
		return
	}
	until := c.opened.Add(c.active).Add(c.limits().IdleTimeout)
	if err := c.nc.SetReadDeadline(until); err != nil {
		c.closeLocked() // which the reader finds
		return
	}
	if c.mustPark() || c.finishing.Load() {
		c.wake() // that must not be undone
	}
}
