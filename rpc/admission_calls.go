package rpc

// hasRoom reports whether a connection with so many calls in flight, which hold
// so many bytes, may start another.
func (a *admission) hasRoom(inFlight int, held int64) bool {
	return inFlight < a.limits.Load().MaxInFlightPerConnection && (held < connectionWindow || !a.ledger.pressed())
}

// connectionWindow is how many bytes the calls of one connection may hold, in
// params and in replies that it does not take, before it is read no further
// while the server holds much: half of MaxBufferedBytes.
const connectionWindow = 128 << 10

// admit gives a call a slot or refuses it. With neither it has to wait: the
// caller makes it independent of the read buffer, then calls enqueue.
func (a *admission) admit(c *call) (started bool, refusal *Error) {
	if c.method.Control {
		return true, nil
	}
	if c.method.MaxConcurrent == 0 && a.takeFreeSlot() {
		c.hold()
		return true, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return false, a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down")
	}
	return a.passGateLocked(c) && a.takeSlotLocked(c), nil
}

// takeFreeSlot takes a slot without the lock, if nobody waits for one.
func (a *admission) takeFreeSlot() bool {
	limit := uint32(a.limits.Load().MaxConcurrentRequests)
	for {
		n := a.slots.Load()
		if n&guarded != 0 || n >= limit {
			return false
		}
		if a.slots.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// freeSlot gives one back without the lock, if nobody waits for it.
func (a *admission) freeSlot() bool {
	for {
		n := a.slots.Load()
		if n&guarded != 0 {
			return false
		}
		if a.slots.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// slotsGuarded reports whether slots pass under the lock only.
func (a *admission) slotsGuarded() bool { return a.slots.Load()&guarded != 0 }

func (a *admission) running() int { return int(a.slots.Load() &^ guarded) }

// passGateLocked lets a call pass where its method has a bound of its own.
func (a *admission) passGateLocked(c *call) bool {
	if c.method.MaxConcurrent == 0 || c.place.gate != nil {
		return true
	}
	g := a.methods[c.method.Name]
	if g == nil {
		g = &methodGate{name: c.method.Name}
		a.methods[g.name] = g
	}
	if g.waiting.length > 0 || g.running >= c.method.MaxConcurrent {
		return false
	}
	g.running++
	c.place.gate = g
	return true
}

// takeSlotLocked gives c a slot, unless others wait for one.
func (a *admission) takeSlotLocked(c *call) bool {
	limit := uint32(a.limits.Load().MaxConcurrentRequests)
	for a.queue.length == 0 {
		n := a.slots.Load()
		if n&^guarded >= limit {
			return false
		}
		if a.slots.CompareAndSwap(n, n+1) {
			c.hold()
			return true
		}
	}
	return false
}

// hold notes that c has a slot, which the caller took.
func (c *call) hold() {
	c.place.slot = true
	c.conn.guest.account.slots.Add(1)
}

// enqueue puts a call at the end of its uid's line, unless it can start
// meanwhile.
func (a *admission) enqueue(c *call) (started bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.passGateLocked(c) {
		a.methods[c.method.Name].waiting.push(c)
		a.parked++
		return false
	}
	return a.slotOrQueueLocked(c)
}

func (a *admission) slotOrQueueLocked(c *call) (started bool) {
	a.slots.Or(guarded) // from here on no slot is given back behind our back
	if a.takeSlotLocked(c) {
		a.unguardLocked()
		return true
	}
	a.queue.push(c)
	return false
}

// unguardLocked ends the need for the lock once nobody waits.
func (a *admission) unguardLocked() {
	if a.queue.length == 0 && !a.draining {
		a.slots.And(^uint32(guarded))
	}
}

// release gives a call's slot back. next is a call that has one now; the caller
// must run it.
func (a *admission) release(c *call) (next *call) {
	if !c.place.slot {
		return nil
	}
	c.place.slot = false
	return a.releaseSlot(c.conn.guest.account, c)
}

// releaseSlot gives back a slot, and the place of left past its gate, if it has one.
func (a *admission) releaseSlot(acct *account, left *call) (next *call) {
	acct.slots.Add(-1)
	if (left == nil || left.place.gate == nil) && a.freeSlot() {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slots.Add(^uint32(0))
	return a.goOnLocked(left)
}

// goOnLocked is what follows when a call has left: who can go on, does.
func (a *admission) goOnLocked(left *call) (next *call) {
	for _, released := range a.leaveGateLocked(left) {
		switch {
		case !a.slotOrQueueLocked(released):
		case next == nil:
			next = released
		default:
			released.start()
		}
	}
	if next == nil {
		next = a.nextCallLocked()
	}
	a.unguardLocked()
	a.checkQuietLocked()
	return next
}

// leaveGateLocked lets others of the method past its gate: one, as a rule, but none
// or several where the bound that they came with is not that of the call that left.
func (a *admission) leaveGateLocked(c *call) (released []*call) {
	if c == nil || c.place.gate == nil {
		return nil
	}
	g := c.place.gate
	c.place.gate = nil
	g.running--
	for next := g.waiting.peek(); next != nil && g.running < next.method.MaxConcurrent; next = g.waiting.peek() {
		released = append(released, g.waiting.pop())
		a.parked--
		g.running++
		next.place.gate = g
	}
	if g.running == 0 {
		delete(a.methods, g.name)
	}
	return released
}

// nextCallLocked gives a free slot to the call that is next.
func (a *admission) nextCallLocked() *call {
	if a.queue.length == 0 || a.running() >= a.limits.Load().MaxConcurrentRequests {
		return nil
	}
	c := a.queue.pop()
	c.hold()
	a.slots.Add(1) // guarded, since a call waited
	return c
}

// abandon gives back what a call got that waits in no queue yet.
func (a *admission) abandon(c *call) (next *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.goOnLocked(c)
}

// withdraw takes a call out of its queue; false if it is not there any more.
// next is a call that has a slot now; the caller must run it.
func (a *admission) withdraw(c *call) (withdrawn bool, next *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := c.place.waits.queue
	if q == nil {
		return false, nil
	}
	q.remove(c)
	if q != &a.queue {
		a.parked--
		a.checkQuietLocked()
		return true, nil
	}
	return true, a.goOnLocked(c)
}

func (a *admission) queueTimeout() *Error {
	d := a.limits.Load().QueueTimeout
	return a.refuse(CodeResourceExhausted, ReasonQueueTimeout, "uid", d.Milliseconds(), ExecutedNo,
		"no slot became free within %s: %d requests run at once", d, a.limits.Load().MaxConcurrentRequests)
}

// openStream lets a streaming call in; onConn is how many its connection has.
func (a *admission) openStream(onConn int) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down")
	}
	if n := a.limits.Load().MaxStreamsPerConnection; onConn >= n {
		return a.refuseLocked(CodeResourceExhausted, ReasonMaxStreams, "connection", int64(n), ExecutedNo,
			"this connection has %d streams open, which is the limit", n)
	}
	if n := a.limits.Load().MaxStreams; a.streams >= n {
		return a.refuseLocked(CodeResourceExhausted, ReasonMaxStreams, "server", int64(n), ExecutedNo,
			"all %d streams are taken", n)
	}
	a.streams++
	return nil
}

func (a *admission) closeStream() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams--
	a.checkQuietLocked()
}
