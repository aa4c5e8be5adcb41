package rpc

import (
	"bytes"
	"context"
	"time"
)

// handle makes a call of one request, or refuses it.
func (c *conn) handle(rd *reader, env *envelope, b *batch) *call {
	if env.id != nil && !c.claim(b, env.id) {
		c.refuse(rd, b, nil, c.srv.adm.duplicateID(env.id))
		return nil
	}
	if env.invalid != "" {
		c.refuse(rd, b, env.id, Errorf(CodeInvalidRequest, "invalid request: %s", env.invalid))
		return nil
	}
	method := c.srv.lookup(&rd.known, env.method)
	if method == nil && isCancel(string(env.method)) {
		rd.sequence++
		c.handleCancel(rd, env, b)
		return nil
	}
	cl := rd.newCall(c, method)
	cl.id, cl.silent, cl.method, cl.batch = env.id, env.id == nil, method, b
	cl.req.Params, cl.req.Notification = env.params, cl.silent
	if method == nil {
		cl.req.Method = string(env.method[:min(len(env.method), maxID)]) // to be named in a log or an error
		c.reject(rd, cl, c.notFound(cl.req.Method))
		return nil
	}
	cl.req.Method = method.Name
	return cl
}

// start lets a call in, or refuses it. here means that it has its slot, and is
// for the caller to run; all others run elsewhere, perhaps later, or not at all.
func (c *conn) start(rd *reader, cl *call) (here bool) {
	if refusal := c.check(cl); refusal != nil {
		c.reject(rd, cl, refusal)
		return false
	}
	if cl.stream != nil {
		c.startStream(rd, cl)
		return false
	}
	started, refusal := c.useLease(rd, cl), (*Error)(nil)
	if !started {
		started, refusal = c.srv.adm.admit(cl)
	}
	if refusal != nil {
		c.reject(rd, cl, refusal)
		return false
	}
	if !started {
		return c.enqueue(rd, cl)
	}
	switch method := cl.method; {
	case method.slowness.slow() && !method.Control:
		c.runApart(rd, cl)
		return false
	case cl.batch != nil:
		if !c.register(cl) {
			cl.release()
			c.skip(rd, cl.batch)
			return false
		}
	case method.CancelOnDisconnect && c.ended():
		cl.release()
		return false
	case rd.frames.last > sharedFrame:
		c.own(rd, cl)
	}
	return true
}

// runApart runs a call that has its slot on a goroutine of its own.
func (c *conn) runApart(rd *reader, cl *call) {
	c.own(rd, cl)
	if !c.register(cl) {
		cl.release()
		cl.discard()
		c.skip(rd, cl.batch)
		return
	}
	c.chain(rd, cl)
	cl.start()
}

// ended reports whether nobody is there to read replies.
func (c *conn) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone || c.closed
}

// maxContexts is how many contexts are made by one allocation while a client
// sends many calls at once.
const maxContexts = 16

// newCall returns a call of method, which is nil if there is none.
func (rd *reader) newCall(c *conn, method *Method) *call {
	cl := rd.spare
	if cl == nil {
		cl = new(call)
	}
	rd.spare = nil
	if cl.callContext == nil || method == nil || !method.KeepsNothing || method.Stream != nil {
		cl.callContext = rd.newContext(c)
	}
	cl.req.Peer, cl.req.call = c.peer, cl.callContext // the last handler may have changed them
	rd.sequence++
	cl.number, cl.started = rd.sequence, rd.frames.now.Sub(c.opened)
	return cl
}

// newContext returns one that was never used.
func (rd *reader) newContext(c *conn) *callContext {
	if len(rd.contexts) == 0 {
		n := 1
		if rd.places > 0 { // not the first of what was read at once
			n = min(2*rd.places, maxContexts)
		}
		rd.contexts = make([]callContext, n)
	}
	ctx := &rd.contexts[0]
	rd.contexts = rd.contexts[1:]
	ctx.conn = c
	return ctx
}

// reuse makes a call that has ended, and that nobody but the reader knows, the next
// one. Its context remains if nobody keeps it, nor has ever looked at it; else it
// ends.
func (rd *reader) reuse(cl *call) {
	next := call{values: cl.values}
	if cl.method.KeepsNothing && cl.state.Load() == nil {
		next.callContext = cl.callContext
	} else {
		cl.end(context.Canceled)
	}
	*cl = next
	rd.spare = cl
}

// startStream starts a streaming call on a goroutine of its own.
func (c *conn) startStream(rd *reader, cl *call) {
	c.own(rd, cl)
	if !c.register(cl) {
		c.srv.adm.closeStream()
		cl.discard()
		return
	}
	c.chain(rd, cl)
	cl.start()
}

// enqueue lets a call wait for its slot, or its method. If it need not, it is for
// the caller to run, here.
func (c *conn) enqueue(rd *reader, cl *call) (here bool) {
	c.own(rd, cl)
	if !c.register(cl) {
		if next := c.srv.adm.abandon(cl); next != nil {
			next.start()
		}
		cl.discard()
		c.skip(rd, cl.batch)
		return false
	}
	if cl.place.gate != nil || cl.method.MaxConcurrent == 0 {
		c.chain(rd, cl)
	}
	if !c.srv.adm.enqueue(cl) {
		c.armQueueTimeout(cl)
		return false
	}
	return true
}

// claim reports whether no call in flight has this id, so that a reply under it
// will be the only one. The id of a batch's item is taken until the array of
// replies is complete. Only the reader adds ids: none comes in between.
func (c *conn) claim(b *batch, id []byte) bool {
	if b == nil && c.taken.Load() == 0 {
		return true // nothing is in flight
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlightLocked(id) {
		return false
	}
	if b != nil {
		b.ids = append(b.ids, id)
	}
	return true
}

// register makes a call known to all as one that is in flight. Where the peer
// has gone, a call that would end with it is not begun.
func (c *conn) register(cl *call) bool {
	cl.id = bytes.Clone(cl.id) // who cancels may read it late
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.gone || c.closed) && cl.endsWithPeer() {
		return false
	}
	c.addLocked(cl)
	return true
}

func (c *conn) addLocked(cl *call) {
	cl.registered = true
	if cl.batch != nil {
		cl.batch.users.Add(1)
	}
	c.calls = append(c.calls, cl)
	c.taken.Add(1)
	if cl.stream != nil {
		c.streams++
	}
}

func (c *conn) inFlightLocked(id []byte) bool {
	for _, cl := range c.calls {
		if cl.id != nil && sameID(cl.id, id) {
			return true
		}
	}
	for _, b := range c.batches {
		for _, used := range b.ids {
			if sameID(used, id) {
				return true
			}
		}
	}
	return false
}

// chain makes a call that will run on a goroutine of its own wait for the one
// before it: calls start in the order they came.
func (c *conn) chain(rd *reader, cl *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cl.answered { // meanwhile, by the end of a drain, say: it will not begin
		return
	}
	cl.previous, cl.begins = rd.previous, make(chan struct{})
	rd.previous = cl.begins
}

// awaitPrevious waits until the call before has begun. It has its slot already,
// or this one would not have got one: what it waits for is a processor.
func (rd *reader) awaitPrevious() {
	if rd.previous != nil {
		<-rd.previous
		rd.previous = nil
	}
}

// runHere runs a call on the reader's goroutine. It returns errTakenOver if the
// reader has lost its role meanwhile.
func (c *conn) runHere(rd *reader, cl *call) error {
	if cl.begins != nil {
		rd.previous = cl.previous
	}
	if cl.method.Control {
		c.count(rd) // it may be the one that tells the count
	} else if rd.previous != nil {
		rd.awaitPrevious()
	}
	rd.running = cl
	busy := c.reading.enter()
	c.srv.sweeper.busy()
	if c.aborted.Load() { // perhaps before anybody could see this call
		cl.end(ErrServerClosed)
	}
	returned := false
	defer func() {
		if !returned { // the handler ended this goroutine: another must go on
			if c.finishHere(rd, cl, busy, nil, cl.wireError(errGoexit)) == nil {
				go c.run()
			} else {
				c.letGo(rd)
			}
		}
	}()
	raw, wire := cl.run()
	returned = true
	return c.finishHere(rd, cl, busy, raw, wire)
}

// finishHere is the end of a call that began on the reader's goroutine. If
// the role is still the caller's, the reply waits for those to the next frames.
func (c *conn) finishHere(rd *reader, cl *call, busy uint64, raw RawMessage, wire *Error) error {
	if !c.reading.leave(busy) {
		c.awaitFork()
		cl.finish(raw, wire)
		c.flush()
		return errTakenOver
	}
	rd.running = nil
	if cl.registered {
		cl.finish(raw, wire)
		rd.dirty = true
		return nil
	}
	if !c.lend(rd, cl) {
		cl.release()
	}
	c.reply(rd, cl, raw, wire)
	rd.reuse(cl)
	return nil
}

// begin is the start of a call on a goroutine of its own; false if it has been
// answered, so that its handler need not run.
func (c *conn) begin(cl *call) bool {
	if cl.previous != nil {
		<-cl.previous
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cl.answered {
		return false
	}
	c.beginLocked(cl)
	cl.started = c.age()
	cl.setDeadline()
	c.armTimeoutLocked(cl)
	return true
}

// beginLocked lets the next call of the connection begin.
func (c *conn) beginLocked(cl *call) {
	if !cl.begun && cl.begins != nil {
		close(cl.begins)
	}
	cl.begun = true
}

// armTimeout starts the clock of a call on the reader's goroutine that does not
// end at once. Calls that do never need one.
func (c *conn) armTimeout(cl *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armTimeoutLocked(cl)
}

func (c *conn) armTimeoutLocked(cl *call) {
	if cl.answered {
		return
	}
	if cl.timer != nil {
		cl.timer.Stop()
	}
	if cl.timeout > 0 {
		cl.timer = time.AfterFunc(cl.deadline-c.age(), func() {
			refusal := c.srv.adm.requestTimeout(cl.timeout)
			c.answer(cl, nil, refusal, nil)
			cl.end(refusal)
			c.flush()
		})
	}
}

// armQueueTimeout starts the clock of a call in the queue, unless it has left
// it meanwhile.
func (c *conn) armQueueTimeout(cl *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cl.begun || cl.answered {
		return
	}
	cl.timer = time.AfterFunc(c.limits().QueueTimeout, func() {
		if c.withdraw(cl) {
			c.answer(cl, nil, c.srv.adm.queueTimeout(), nil)
			c.flush()
		}
	})
}
