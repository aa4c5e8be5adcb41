package rpc

import (
	"bytes"
	"errors"
	"time"
)

// cancelMethod is built in: it needs the connection. The alias is that of the
// Language Server Protocol.
const (
	cancelMethod = "rpc.cancel"
	cancelAlias  = "$/cancelRequest"
)

func isCancel(method string) bool { return method == cancelMethod || method == cancelAlias }

// handle starts one request, or refuses it. It returns errTakenOver if the
// caller has lost the reader's role meanwhile.
func (c *conn) handle(rd *reader, env envelope, b *batch) error {
	if !c.claim(b, env.id) {
		c.refuse(b, nil, c.srv.adm.duplicateID(env.id))
		return nil
	}
	if env.invalid != "" {
		c.refuse(b, env.id, Errorf(CodeInvalidRequest, "invalid request: %s", env.invalid))
		return nil
	}
	if isCancel(string(env.method)) {
		c.handleCancel(env, b)
		return nil
	}
	cl := &call{
		conn:    c,
		number:  c.srv.requests.Add(1),
		started: rd.frames.now,
		batch:   b,
		method:  c.srv.lookup(env.method),
		req:     Request{Params: env.params, Notification: env.id == nil, Peer: c.peer},
	}
	if env.id != nil {
		cl.id = append(cl.idSpace[:0], env.id...)
	}
	cl.req.call = cl
	if cl.method == nil {
		cl.req.Method = string(env.method)
		c.reject(cl, c.notFound(cl.req.Method))
		return nil
	}
	cl.req.Method = cl.method.Name
	if refusal := c.check(cl); refusal != nil {
		c.reject(cl, refusal)
		return nil
	}
	if !c.register(cl) {
		if cl.stream != nil {
			c.srv.adm.closeStream()
		}
		c.skip(b)
		return nil
	}
	if cl.stream != nil {
		c.own(rd, cl)
		c.chain(rd, cl)
		cl.start()
		return nil
	}
	started, refusal := c.srv.adm.admit(cl)
	switch {
	case refusal != nil:
		c.answer(cl, nil, refusal, nil)
		return nil
	case !started:
		c.own(rd, cl)
		c.chain(rd, cl)
		if !c.srv.adm.enqueue(cl) {
			c.armQueueTimeout(cl)
			return nil
		}
	case b == nil && rd.frames.last > sharedFrame:
		c.own(rd, cl)
	}
	return c.runHere(rd, cl)
}

// check says what of a call can be refused without asking how busy the server
// is.
func (c *conn) check(cl *call) *Error {
	if c.srv.Authorize != nil {
		if err := c.srv.Authorize(c.peer, cl.method); err != nil {
			return c.denied(cl, err)
		}
	}
	m := cl.method
	if len(cl.req.Params) > 0 && cl.req.Params[0] == '[' && !m.TakesArray {
		if len(m.ParamNames) == 0 {
			return Errorf(CodeInvalidParams, "invalid params: method %q takes no array of params; send an object", m.Name)
		}
		named, err := nameParams(cl.req.Params, m.ParamNames)
		if err != nil {
			return err
		}
		cl.req.Params = named
	}
	cl.timeout = m.Timeout
	if cl.timeout == 0 && m.Stream == nil {
		cl.timeout = c.srv.adm.limits.RequestTimeout
	}
	if m.Stream != nil {
		return c.checkStream(cl)
	}
	return nil
}

func (c *conn) checkStream(cl *call) *Error {
	if cl.batch != nil {
		return Errorf(CodeInvalidRequest, "invalid request: the streaming method %q can not be called in a batch", cl.method.Name)
	}
	if cl.id == nil {
		return Errorf(CodeInvalidRequest, "invalid request: the streaming method %q needs an id", cl.method.Name)
	}
	c.mu.Lock()
	open := c.streams
	c.mu.Unlock()
	if refusal := c.srv.adm.openStream(open); refusal != nil {
		return refusal
	}
	n := cl.method.StreamQueueLength
	if n == 0 {
		n = defaultStreamQueueLength
	}
	cl.stream = &Stream{call: cl, max: n}
	return nil
}

func (c *conn) notFound(method string) *Error {
	c.srv.adm.refused(ReasonMethodNotFound)
	return errMethodNotFound(method)
}

// denied turns the answer of Authorize into a refusal.
func (c *conn) denied(cl *call, err error) *Error {
	if errors.Is(err, ErrHidden) {
		return c.notFound(cl.req.Method)
	}
	c.srv.adm.refused(ReasonNotAuthorized)
	var wire *Error
	if errors.As(err, &wire) {
		return wire
	}
	c.log().WithError(err).WithField("method", cl.method.Name).Info("call not authorised")
	return Errorf(CodeNotAuthorized, "not authorised to call %q", cl.method.Name)
}

// claim reports whether no call in flight has this id, so that a reply under it
// will be the only one. The id of a batch's item is taken until the array of
// replies is complete. Only the reader adds ids: none comes in between.
func (c *conn) claim(b *batch, id []byte) bool {
	if id == nil {
		return true
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

// register makes a call one that is in flight. Where the peer has gone, a call
// that would end with it is not begun.
func (c *conn) register(cl *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.gone || c.closed) && cl.endsWithPeer() {
		return false
	}
	c.calls = append(c.calls, cl)
	c.inFlight++
	if cl.stream != nil {
		c.streams++
	}
	return true
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

// own makes a call independent of the read buffer.
func (c *conn) own(rd *reader, cl *call) {
	switch {
	case cl.batch != nil: // has its own copy
	case rd.frames.last > sharedFrame:
		cl.buf = rd.frames.detach()
	default:
		cl.req.Params = bytes.Clone(cl.req.Params)
	}
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

// runHere runs a call on the reader's goroutine.
func (c *conn) runHere(rd *reader, cl *call) error {
	if cl.begins != nil {
		rd.previous = cl.previous
	}
	if !cl.method.Control {
		rd.awaitPrevious()
	}
	rd.running = cl
	busy := c.reading.enter()
	c.srv.sweeper.busy()
	returned := false
	defer func() {
		if !returned { // the handler ends this goroutine: another must go on
			if c.afterHandler(rd, busy) == nil {
				go c.run()
			} else {
				c.letGo(rd)
			}
		}
	}()
	cl.execute()
	returned = true
	return c.afterHandler(rd, busy)
}

// afterHandler takes the reader's role back, or writes the reply without it.
func (c *conn) afterHandler(rd *reader, busy uint64) error {
	if c.reading.leave(busy) {
		rd.running = nil
		return nil
	}
	c.flush()
	return errTakenOver
}

// letGo frees what the reader held before it lost its role.
func (c *conn) letGo(rd *reader) {
	c.forking.Lock() // who took over may still be copying from the buffer
	defer c.forking.Unlock()
	rd.frames.release()
}

// sweep takes the reading over if the reader has been busy with the same thing
// since the last sweep. It reports whether the reader is busy.
func (c *conn) sweep() bool {
	observed := c.reading.state.Load()
	if observed&1 == 0 {
		return false
	}
	if observed != c.observed {
		c.observed = observed
		return true
	}
	c.forking.Lock()
	defer c.forking.Unlock()
	if c.reading.take(observed) {
		running := c.rd.running
		c.rd = c.rd.fork()
		go func() {
			if running != nil {
				c.armTimeout(running)
			}
			if c.flushAsReader() == nil {
				c.run()
			}
		}()
	}
	return true
}

// fork returns the state for who takes the reading over. The old one keeps its
// buffer for the handler that runs on it.
func (rd *reader) fork() *reader {
	return &reader{frames: *rd.frames.fork(), deadline: rd.deadline, batch: rd.batch, items: rd.items, previous: rd.previous}
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
	cl.started = time.Now()
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
		cl.timer = time.AfterFunc(time.Until(cl.started.Add(cl.timeout)), func() {
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
	cl.timer = time.AfterFunc(c.srv.adm.limits.QueueTimeout, func() {
		if c.srv.adm.withdraw(cl) {
			c.answer(cl, nil, c.srv.adm.queueTimeout(), nil)
			c.flush()
		}
	})
}

// handleCancel serves rpc.cancel. It takes no slot and is never queued.
func (c *conn) handleCancel(env envelope, b *batch) {
	c.srv.requests.Add(1)
	params := env.params
	if len(params) > 0 && params[0] == '[' {
		named, err := nameParams(params, []string{"id"})
		if err != nil {
			c.rejectEnvelope(env, b, err)
			return
		}
		params = named
	}
	var p struct {
		ID RawMessage `json:"id"`
	}
	if err := DecodeParams(params, &p); err != nil || len(p.ID) == 0 {
		c.rejectEnvelope(env, b, Errorf(CodeInvalidParams, `invalid params: expected {"id": the id of the call to cancel}`))
		return
	}
	found := c.cancelCall(p.ID)
	if env.id == nil {
		c.skip(b)
		return
	}
	result := `{"cancelled":false}`
	if found {
		result = `{"cancelled":true}`
	}
	c.put(b, env.id, resultReply(env.id, []byte(result)))
}

func (c *conn) cancelCall(id []byte) bool {
	c.mu.Lock()
	var found *call
	for _, cl := range c.calls {
		if cl.id != nil && sameID(cl.id, id) {
			found = cl
		}
	}
	c.mu.Unlock()
	if found == nil {
		return false
	}
	executed := ExecutedUnknown
	if c.srv.adm.withdraw(found) {
		executed = ExecutedNo
	}
	refusal := c.srv.adm.cancelled(executed)
	first := c.answer(found, nil, refusal, nil)
	found.end(refusal)
	return first
}
