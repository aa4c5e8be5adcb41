package rpc

// ceiling is what may be reached: the limits in force, or what was there when
// they were lowered, for nobody is dropped then.
type ceiling struct {
	limits                                                  Limits
	connections, perUID, requests, inFlight, streams, onOne int
	messageBytes, bufferedBytes                             int
}

func (b *ceiling) raise(l Limits) {
	b.limits = l
	b.connections = max(b.connections, l.MaxConnections)
	b.perUID = max(b.perUID, l.MaxConnectionsPerUID)
	b.requests = max(b.requests, l.MaxConcurrentRequests)
	b.inFlight = max(b.inFlight, l.MaxInFlightPerConnection)
	b.streams = max(b.streams, l.MaxStreams)
	b.onOne = max(b.onOne, l.MaxStreamsPerConnection)
	b.messageBytes = max(b.messageBytes, l.MaxMessageBytes)
	b.bufferedBytes = max(b.bufferedBytes, l.MaxBufferedBytes)
}

// bound checks one count, and lets its ceiling sink to where it may go.
func (s *simulation) bound(what string, n int, ceiling *int, limit int) {
	if n > *ceiling {
		s.problem("%s: %d, expected at most %d", what, n, *ceiling)
	}
	*ceiling = max(n, limit)
}

// check checks everything that must hold whenever nothing is under way.
func (s *simulation) check() {
	for _, c := range s.clients {
		c.left = c.left || c.struck()
	}
	if s.successor == nil { // else they change hands
		s.checkCounts()
		s.checkConnections()
	}
	for _, c := range s.clients {
		c.checkEnd()
		c.checkCancels()
	}
	if len(s.problems) > 0 {
		s.note("(now)")
	}
}

func (s *simulation) checkCounts() {
	a, x := s.srv.adm, s.executions
	st := s.srv.Stats()
	limits := s.ceiling.limits
	s.bound("connections", a.serving-a.overfull, &s.ceiling.connections, limits.MaxConnections)
	if n := a.room.Len() + a.overfull; n > waitingRoom {
		s.problem("%d connections are beyond their limit, expected at most %d", n, waitingRoom)
	}
	if n := a.room.Len(); n > 0 && a.serving-a.overfull < limits.MaxConnections && !s.stopping {
		s.problem("%d connections wait, and %d of %d places are taken", n, a.serving-a.overfull, limits.MaxConnections)
	}
	if n := s.net.open - s.beingTold(); n > a.serving+a.room.Len() {
		s.problem("%d connections are open, %d served and %d waiting", n, a.serving, a.room.Len())
	}
	x.mu.Lock()
	running, most := x.running, x.most
	x.most = x.running
	x.mu.Unlock()
	if st.Running != running {
		s.problem("%d slots are taken, and %d handlers run", st.Running, running)
	}
	if most > s.ceiling.requests {
		s.problem("%d handlers ran at once, expected at most %d", most, s.ceiling.requests)
	}
	s.bound("slots", st.Running, &s.ceiling.requests, limits.MaxConcurrentRequests)
	if a.queue.length > 0 && st.Running < limits.MaxConcurrentRequests {
		s.problem("%d calls wait for a slot, and %d of %d are taken", a.queue.length, st.Running, limits.MaxConcurrentRequests)
	}
	s.bound("streams", st.Streams, &s.ceiling.streams, limits.MaxStreams)
	perUID := 0
	for uid, acct := range a.accounts {
		if uid != 0 {
			perUID = max(perUID, acct.connections)
		}
	}
	s.bound("connections of one uid", perUID, &s.ceiling.perUID, limits.MaxConnectionsPerUID)
}

// beingTold counts the connections that the second server has refused and whose
// clients do not take even that.
func (s *simulation) beingTold() int {
	served := make(map[int32]bool)
	for _, c := range s.srv.snapshot() {
		served[c.peer.PID] = true
	}
	n := 0
	for _, c := range s.clients {
		if s.handed && !served[c.end.peer.PID] && c.end.writing() {
			n++
		}
	}
	return n
}

// checkConnections checks what stands in the server about each connection.
func (s *simulation) checkConnections() {
	a := s.srv.adm
	held, inFlight, streams := int64(0), 0, 0
	perUID := make(map[uint32]int64)
	conns := s.srv.snapshot()
	inFlightLimit := s.ceiling.limits.MaxInFlightPerConnection
	for _, c := range conns {
		held += c.held.Load()
		perUID[c.peer.UID] += c.held.Load()
		taken, onOne, _ := look(c)
		inFlight = max(inFlight, taken)
		if c.reading.state.Load()&1 != 0 { // the call that the reader runs counts once another takes the reading over
			inFlightLimit = s.ceiling.inFlight
		}
		streams = max(streams, onOne)
		if c.held.Load() < 0 || c.unread.Load() < 0 || c.taken.Load() < 0 {
			s.problem("client %d: %d bytes are held, %d unread, %d calls in flight", c.peer.PID, c.held.Load(), c.unread.Load(), c.taken.Load())
		}
	}
	// Who waits for input when the limit is lowered takes in what comes next.
	inFlightLimit = max(inFlightLimit, min(inFlight+1, s.ceiling.inFlight))
	s.bound("calls in flight", inFlight, &s.ceiling.inFlight, inFlightLimit)
	s.bound("streams of one connection", streams, &s.ceiling.onOne, s.ceiling.limits.MaxStreamsPerConnection)
	// A handler that goes on when its connection has left still holds its params.
	exactly := s.executions.over()
	if n := a.ledger.held.Load(); n < held || (exactly && n != held) {
		s.problem("%d bytes are on account, and %d are held by connections", n, held)
	}
	for uid, acct := range a.accounts {
		if n := acct.held.Load(); n < perUID[uid] || (exactly && n != perUID[uid]) {
			s.problem("%d bytes are on the account of uid %d, and %d are held by its connections", n, uid, perUID[uid])
		}
	}
	// What is small is not held back: see Limits.MaxBufferedBytes.
	most := s.ceiling.bufferedBytes + len(conns)*(connectionWindow+2*sharedFrame)
	if n := s.srv.Stats().BufferedBytes; n > most {
		s.problem("%d bytes are held, expected at most %d", n, most)
	}
	for _, c := range conns {
		s.checkAnswered(c)
	}
}

// look reads the state of a connection whose goroutines all wait, which the race
// detector can not know: time alone may wake them. waits says that the reader
// has nothing but the next frame to wait for, and does not have one that waits for
// its turn.
//
//go:norace
func look(c *conn) (taken, streams int, waits bool) {
	waits = !c.readDone && !c.rd.queued && c.reading.state.Load()&1 == 0 && len(c.rd.items) == 0 && !c.rd.frames.partial()
	return int(c.taken.Load()) + c.rd.places, c.streams, waits
}

// checkAnswered checks that a connection for which the server has nothing to
// do has all its answers.
func (s *simulation) checkAnswered(c *conn) {
	client := s.clients[c.peer.PID]
	if _, toClient, _, ended := client.end.state(); toClient > 0 || ended || client.left || client.stalledReading {
		return
	}
	if taken, _, waits := look(c); taken > 0 || !waits {
		return
	}
	if ids := client.unanswered(); len(ids) > 0 {
		client.problem("nothing is in flight, and calls are not answered: %v", ids)
	}
}

// checkEnd checks that the server had a reason to end the connection.
func (c *simClient) checkEnd() {
	s := c.sim
	for len(s.reasons) > 0 {
		r := <-s.reasons
		s.clients[r.client].hearReason(r)
	}
	// Who is refused after a handover, and does not read, is not told for long.
	untold := s.handed && c.slow
	if c.ended && !c.left && len(c.notices) == 0 && c.reason == "" && !s.stopping && !untold {
		c.problem("the server has closed the connection without a reason")
	}
}

// hearReason takes in why the server says that it closes the connection.
func (c *simClient) hearReason(r simReason) {
	c.reason = r.text
	if c.struck() {
		return
	}
	switch r.text {
	case "closing: idle":
		if ids := c.unanswered(); len(ids) > 0 && !c.left && !c.stalledReading {
			c.problem("is said to be idle, and has no answer to %v", ids)
		}
	case "closing: the peer does not read its replies", "closing: memory is short and the peer does not read its replies":
		if !c.slow && !c.left {
			c.problem("%s, but it has always read", r.text)
		}
	case "closing: it was not ready to be handed over in time", "closing: too much unhandled input to hand over":
		if !c.sim.hasty {
			c.problem("%s", r.text)
		}
	default:
		c.problem("%s", r.text)
	}
}

// checkServerEnded checks that everything was given back to a server that has
// ended.
func (s *simulation) checkServerEnded() {
	a := s.srv.adm
	if n := len(s.srv.snapshot()); n > 0 {
		s.problem("%d connections are left", n)
	}
	for what, n := range map[string]int{
		"places of connections": a.serving, "places beyond the limit": a.overfull, "guests": a.room.Len(), "accounts": len(a.accounts),
		"slots": a.running(), "calls in the queue": a.queue.length, "lines": len(a.queue.lines), "calls that wait for their method": a.parked,
		"methods": len(a.methods), "streams": a.streams, "bytes": a.ledger.totalLocked(), "large send buffers": int(s.srv.sendBuffers.Load()),
	} {
		if n != 0 {
			s.problem("%s: %d are left", what, n)
		}
	}
}

// checkNothingLeft checks that, after the end.
func (s *simulation) checkNothingLeft() {
	s.checkServerEnded()
	if n := s.net.open; n > 0 {
		s.problem("%d connections are open", n)
	}
	if n := s.executions.running; n > 0 {
		s.problem("%d handlers run", n)
	}
	x := s.executions
	for token, n := range x.begun {
		if x.ended[token] != n {
			s.problem("request %s has begun %d times and ended %d times", token, n, x.ended[token])
		}
	}
	for _, c := range s.clients {
		c.checkRefused()
	}
}
