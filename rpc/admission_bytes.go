package rpc

import "slices"

// reserve gives a connection a large buffer for input, if there is room for one
// of size bytes. Else its reader waits for what wait.granted says; nil on it
// means that the server drains.
func (a *admission) reserve(c *conn, size int) (g grant, wait *reservation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	trusted := a.trusted(c.peer)
	if len(a.ledger.waiting) == 0 && a.ledger.takeLocked(c.guest.account, size, trusted) {
		return grant{bytes: size}, nil
	}
	wait = &reservation{account: c.guest.account, size: size, trusted: trusted, granted: make(chan grant, 1)}
	if a.draining {
		close(wait.granted)
		return grant{}, wait
	}
	a.ledger.waiting = append(a.ledger.waiting, wait)
	a.ledger.anyWaiting.Store(true)
	a.ledger.grantLocked() // bytes may have come back before anyWaiting was set
	return grant{}, wait
}

// withdrawReservation ends a wait; false if it was granted meanwhile.
func (a *admission) withdrawReservation(r *reservation) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.ledger.waiting, r)
	if i < 0 {
		return false
	}
	a.ledger.forgetLocked(i)
	return true
}

func (a *admission) refuseWaitingBytesLocked() {
	for _, r := range a.ledger.waiting {
		close(r.granted)
	}
	a.ledger.waiting = nil
	a.ledger.anyWaiting.Store(false)
}

// mayReply reports whether a connection may be sent a reply of n bytes beside
// what its uid has not taken yet.
func (a *admission) mayReply(c *conn, n int) bool {
	return n <= freelyTaken || a.trusted(c.peer) || c.guest.account.held.Load()+int64(n) <= a.ledger.share()
}

// giveBack returns what a buffer held.
func (a *admission) giveBack(acct *account, g grant) {
	a.ledger.add(acct, -g.bytes)
	if !g.fromReserve && !a.ledger.anyWaiting.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.fromReserve {
		a.ledger.reserveTaken = false
	}
	a.ledger.grantLocked()
}

func (a *admission) bufferTimeout() *Error {
	l := a.limits.Load()
	return a.refuse(CodeResourceExhausted, ReasonMaxBufferedBytes, "server", int64(l.MaxBufferedBytes), ExecutedNo,
		"no memory for a message of more than %d bytes became free within %s: %d bytes are held at most; the connection is closed",
		sharedFrame, l.QueueTimeout, l.MaxBufferedBytes)
}

func (a *admission) replyBeyondShare() *Error {
	return a.refuse(CodeResourceExhausted, ReasonMaxBufferedBytes, "uid", a.ledger.share(), ExecutedYes,
		"the reply is lost: this uid has too many replies that are not read yet")
}
