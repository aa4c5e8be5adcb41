package rpc

import "container/list"

// turnAway refuses a connection of peer that enter would refuse now, so that no more
// is done for it.
func (a *admission) turnAway(peer *Peer) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.turnAwayLocked(peer)
}

func (a *admission) turnAwayLocked(peer *Peer) *Error {
	if a.draining {
		return a.refuseLocked(CodeShuttingDown, ReasonShuttingDown, "server", 0, ExecutedNo, "the server is shutting down")
	}
	acct := a.accounts[peer.UID]
	if n := a.limits.Load().MaxConnectionsPerUID; acct != nil && acct.connections >= n && !a.trusted(peer) {
		return a.refuseLocked(CodeResourceExhausted, ReasonMaxConnectionsPerID, "uid", int64(n), ExecutedNo,
			"uid %d has %d connections open, which is the limit", peer.UID, n)
	}
	return nil
}

// enter lets a connection in, refuses it, or puts it into the waiting room. In
// the last case g.ready is called later. evicted is a guest that had to make
// room and must be told.
func (a *admission) enter(g *guest) (served bool, refusal *Error, evicted *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if refusal := a.turnAwayLocked(g.peer); refusal != nil {
		return false, refusal, nil
	}
	trusted := a.trusted(g.peer)
	acct := a.accounts[g.peer.UID]
	if acct == nil {
		acct = newAccount(g.peer.UID)
		a.accounts[acct.uid] = acct
		a.mixed.Store(len(a.accounts) > 1)
	}
	acct.connections++
	g.account = acct
	full := a.serving-a.overfull >= a.limits.Load().MaxConnections
	if !full && (a.room.Len() == 0 || trusted) {
		a.serving++
		a.connections++
		return true, nil, nil
	}
	if full && trusted {
		a.serving++
		a.overfull++
		a.connections++
		g.extra, served = true, true
	} else {
		g.element = a.room.PushBack(g)
	}
	if a.room.Len()+a.overfull >= waitingRoom && a.room.Len() > 0 {
		evicted = a.room.Front().Value.(*guest)
		a.departLocked(evicted)
	}
	return served, nil, evicted
}

// mayAccept reports whether one more connection can be held.
func (a *admission) mayAccept() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.overfull < waitingRoom
}

// departLocked takes a guest out of the room without a place.
func (a *admission) departLocked(g *guest) {
	a.room.Remove(g.element)
	g.element = nil
	a.forgetLocked(g.account)
}

func (a *admission) forgetLocked(acct *account) {
	if acct.connections--; acct.connections == 0 {
		delete(a.accounts, acct.uid)
		a.mixed.Store(len(a.accounts) > 1)
	}
}

// giveUp takes a guest that waited too long out of the room; false if it has
// got a place, or left, meanwhile.
func (a *admission) giveUp(g *guest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.element == nil {
		return false
	}
	a.departLocked(g)
	return true
}

func (a *admission) roomRefusal() *Error {
	n := a.limits.Load().MaxConnections
	return a.refuse(CodeResourceExhausted, ReasonMaxConnections, "server", int64(n), ExecutedNo,
		"all %d connections are taken", n)
}

// leave gives a connection's place back. next is the guest that has it now.
func (a *admission) leave(g *guest) (next *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serving--
	a.forgetLocked(g.account)
	if g.extra {
		a.overfull--
	}
	return a.nextGuestLocked()
}

func (a *admission) nextGuestLocked() *guest {
	front := a.room.Front()
	if front == nil || a.serving-a.overfull >= a.limits.Load().MaxConnections {
		return nil
	}
	return a.seatLocked(front)
}

// seatLocked gives a guest in the room a place.
func (a *admission) seatLocked(element *list.Element) *guest {
	g := a.room.Remove(element).(*guest)
	g.element = nil
	a.serving++
	a.connections++
	return g
}

// emptyRoom takes every guest out, at the end of accepting.
func (a *admission) emptyRoom() (guests []*guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for front := a.room.Front(); front != nil; front = a.room.Front() {
		g := front.Value.(*guest)
		a.departLocked(g)
		guests = append(guests, g)
	}
	return guests
}

// admitRoom gives every guest in the room a place, whatever the bound: they will
// not be served.
func (a *admission) admitRoom() (guests []*guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for front := a.room.Front(); front != nil; front = a.room.Front() {
		guests = append(guests, a.seatLocked(front))
	}
	return guests
}
