package rpc

import (
	"bytes"
	"slices"
	"time"
)

// batch collects the replies to the items of one batch; guarded by conn.mu. It
// is in flight, with all its ids, until the array is written.
type batch struct {
	left int      // items without an outcome
	ids  [][]byte // of items that were started
	out  []byte   // the array so far, without its end
}

// beginBatch takes in a frame that is an array. Its items are started one by
// one by the reader, like single calls.
func (c *conn) beginBatch(rd *reader, frame []byte) {
	frame = bytes.Clone(frame) // outlives the read buffer
	items, count, serr := splitArray(frame[skipSpace(frame, 0):], c.srv.adm.limits.MaxBatch)
	if serr != nil {
		c.refuse(nil, nil, Errorf(CodeParseError, "the message is no JSON: %s", serr))
		return
	}
	if count == 0 {
		c.refuse(nil, nil, Errorf(CodeInvalidRequest, "invalid request: the batch is empty"))
		return
	}
	if refusal := c.srv.adm.checkBatch(count); refusal != nil {
		c.refuse(nil, nil, refusal)
		return
	}
	b := &batch{left: count}
	c.mu.Lock()
	c.batches = append(c.batches, b)
	c.mu.Unlock()
	rd.batch, rd.items = b, items
}

// abandonBatch gives up n items of a connection that has ended.
func (c *conn) abandonBatch(b *batch, n int) {
	c.mu.Lock()
	if b.left -= n; b.left == 0 {
		c.forgetBatchLocked(b)
	}
	c.settle()
}

func (c *conn) forgetBatchLocked(b *batch) {
	c.batches = slices.DeleteFunc(c.batches, func(x *batch) bool { return x == b })
}

// answer is the outcome of a registered call: raw, or wire if that is not nil.
// Only the first outcome counts: it reports whether this was it. The output is
// queued, not written. owner, if not nil, is the buffer that raw may stand in;
// answer owns it from then on.
func (c *conn) answer(cl *call, raw RawMessage, wire *Error, owner *buffer) (first bool) {
	var frame []byte // of an error
	if cl.id != nil {
		limit := c.srv.adm.limits.MaxMessageBytes
		if wire == nil && len(raw)+len(cl.id)+replyOverhead > limit {
			wire = c.srv.adm.replyTooLarge(ExecutedYes)
		}
		if wire != nil {
			frame = c.bounded(cl.id, wire)
		} else if cl.batch != nil || cl.stream != nil {
			frame = resultReply(cl.id, raw)
		}
	}

	c.mu.Lock()
	if cl.answered {
		c.mu.Unlock()
		owner.free()
		return false
	}
	cl.answered = true
	started := cl.started
	c.beginLocked(cl)
	if cl.timer != nil {
		cl.timer.Stop()
	}
	c.calls = slices.DeleteFunc(c.calls, func(x *call) bool { return x == cl })
	if cl.stream != nil {
		c.streams--
	}
	switch {
	case cl.batch != nil:
		c.batchOutcomeLocked(cl.batch, cl.id, frame)
	case cl.id == nil || c.gone || c.closed:
		c.freePlacesLocked(1)
	case cl.stream != nil:
		cl.stream.finishLocked(append(frame, '\n'), wire == nil || wire.Code != CodeCancelled)
	case frame != nil:
		c.out.put(frame, newline)
		c.out.places++
	case len(raw) <= copyLimit:
		c.out.put(replyHead, cl.id, replyResult, raw, replyEnd)
		c.out.places++
	default:
		c.out.put(replyHead, cl.id, replyResult)
		c.out.putLarge(raw, owner)
		c.out.put(replyEnd)
		c.out.places++
		owner = nil
	}
	c.settle()
	owner.free()
	c.observe(cl, started, wire)
	return true
}

var newline = []byte{'\n'}

// batchOutcomeLocked takes in the outcome of one item; frame is nil for a
// notification. The caller's place is given back, or kept for the array.
func (c *conn) batchOutcomeLocked(b *batch, id, frame []byte) {
	limit := c.srv.adm.limits.MaxMessageBytes
	if frame != nil {
		if len(b.out)+len(frame)+2 > limit {
			frame = errorReply(id, c.srv.adm.replyTooLarge(ExecutedYes))
		}
		sep := byte(',')
		if len(b.out) == 0 {
			sep = '['
		}
		b.out = append(append(b.out, sep), frame...)
	}
	b.left--
	if b.left > 0 {
		c.freePlacesLocked(1)
		return
	}
	c.forgetBatchLocked(b)
	if len(b.out) == 0 || c.gone || c.closed {
		c.freePlacesLocked(1)
		return
	}
	b.out = append(b.out, ']', '\n')
	if len(b.out)-1 > limit {
		b.out = append(errorReply(nil, c.srv.adm.replyTooLarge(ExecutedUnknown)), '\n')
	}
	c.out.putLarge(b.out, nil)
	c.out.places++
}

// refuse answers what never became a call.
func (c *conn) refuse(b *batch, id []byte, wire *Error) {
	c.put(b, id, c.bounded(id, wire))
	c.observeRefusal("", wire)
}

// reject answers a call that was not registered, unless it is a notification:
// that never gets a reply.
func (c *conn) reject(cl *call, wire *Error) {
	if cl.id == nil {
		c.skip(cl.batch)
	} else {
		c.put(cl.batch, cl.id, c.bounded(cl.id, wire))
	}
	c.observeRefusal(cl.req.Method, wire)
}

func (c *conn) rejectEnvelope(env envelope, b *batch, wire *Error) {
	if env.id == nil {
		c.skip(b)
		return
	}
	c.put(b, env.id, c.bounded(env.id, wire))
}

// put queues a frame that belongs to no registered call.
func (c *conn) put(b *batch, id, frame []byte) {
	c.mu.Lock()
	c.inFlight++
	switch {
	case b != nil:
		c.batchOutcomeLocked(b, id, frame)
	case c.gone || c.closed:
		c.freePlacesLocked(1)
	default:
		c.out.put(frame, newline)
		c.out.places++
	}
	c.settle()
}

// skip is the outcome of an item that gets no reply.
func (c *conn) skip(b *batch) {
	if b != nil {
		c.put(b, nil, nil)
	}
}

// bounded returns the frame of an error. An id that leaves no room for it is
// not repeated.
func (c *conn) bounded(id []byte, wire *Error) []byte {
	limit := c.srv.adm.limits.MaxMessageBytes
	frame := errorReply(id, wire)
	if len(frame) > limit {
		tooLarge := c.srv.adm.replyTooLarge(executedBy(wire))
		if frame = errorReply(id, tooLarge); len(frame) > limit {
			frame = errorReply(nil, tooLarge)
		}
	}
	return frame
}

func resultReply(id, raw []byte) []byte {
	b := make([]byte, 0, len(id)+len(raw)+replyOverhead+1)
	b = append(b, replyHead...)
	b = append(b, id...)
	b = append(b, replyResult...)
	b = append(b, raw...)
	return append(b, '}')
}

// observe tells the monitors of an outcome.
func (c *conn) observe(cl *call, started time.Time, wire *Error) {
	if !c.srv.watchers.active() {
		return
	}
	e := Event{Kind: EventCall, Time: time.Now(), Peer: c.peer, Method: cl.method.Name, RequestID: cl.requestID()}
	e.Duration = e.Time.Sub(started)
	if wire != nil {
		e.Code = wire.Code
		if data, ok := wire.Data.(*ErrorData); ok && data.Executed == ExecutedNo {
			e.Kind, e.Reason = EventRefusal, data.Reason
		}
	}
	c.srv.watchers.emit(e)
}

func (c *conn) observeRefusal(method string, wire *Error) {
	if !c.srv.watchers.active() {
		return
	}
	e := Event{Kind: EventRefusal, Time: time.Now(), Peer: c.peer, Method: method, Code: wire.Code}
	if data, ok := wire.Data.(*ErrorData); ok {
		e.Reason = data.Reason
	}
	c.srv.watchers.emit(e)
}
