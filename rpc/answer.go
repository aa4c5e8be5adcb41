package rpc

import (
	"bytes"
	"slices"
	"sync/atomic"
	"time"
)

// batch collects the replies to the items of one batch; guarded by conn.mu. It
// is in flight, with all its ids, until the array is written.
type batch struct {
	conn *conn
	left int      // items without an outcome
	ids  [][]byte // of items that were started
	out  pieces   // the array so far, without its end

	// The items stand in buf, or in a copy of charged bytes, until users, the
	// reader and the handlers, are none.
	buf     *buffer
	charged int
	users   atomic.Int32
}

// beginBatch takes in a frame that is an array; the caller has begun the look at it.
// Its items are started one by one by the reader, like single calls.
func (c *conn) beginBatch(rd *reader, frame []byte) {
	b := &batch{conn: c}
	b.users.Store(1)
	if len(frame) > sharedFrame {
		b.buf = c.detach(rd)
	} else {
		frame = bytes.Clone(frame)
		b.charged = len(frame)
		c.charge(b.charged)
	}
	items, count, serr := splitArray(frame[skipSpace(frame, 0):], c.limits().MaxBatch)
	c.endLook(rd)
	var refusal *Error
	switch {
	case serr != nil:
		refusal = Errorf(CodeParseError, "the message is no JSON: %s", serr)
	case count == 0:
		refusal = Errorf(CodeInvalidRequest, "invalid request: the batch is empty")
	default:
		refusal = c.srv.adm.checkBatch(count)
	}
	if refusal != nil {
		c.refuse(rd, nil, nil, refusal)
		b.release()
		return
	}
	b.left = count
	c.mu.Lock()
	c.batches = append(c.batches, b)
	c.mu.Unlock()
	rd.batch, rd.items = b, items
}

// release ends one use of the items.
func (b *batch) release() {
	if b.users.Add(-1) > 0 {
		return
	}
	b.buf.free()
	if b.charged > 0 {
		b.conn.giveBack(grant{bytes: b.charged})
	}
}

// abandonBatch gives up n items of a connection that has ended.
func (c *conn) abandonBatch(b *batch, n int) {
	c.mu.Lock()
	if b.left -= n; b.left == 0 {
		c.forgetBatchLocked(b)
		b.out.free()
	}
	c.settle()
	b.release()
}

func (c *conn) forgetBatchLocked(b *batch) {
	c.batches = slices.DeleteFunc(c.batches, func(x *batch) bool { return x == b })
	c.unchargeOutput(b.out.bytes)
}

// answer is the outcome of a registered call: raw, or wire if that is not nil.
// Only the first outcome counts: it reports whether this was it. The output is
// queued, not written. owner, if not nil, is the buffer that raw may stand in;
// answer owns it from then on.
func (c *conn) answer(cl *call, raw RawMessage, wire *Error, owner *buffer) (first bool) {
	var frame []byte // of an error
	if cl.id != nil {
		if wire == nil {
			wire = c.checkReply(cl, raw, owner)
		}
		if wire != nil {
			frame = c.bounded(cl.id, wire)
		} else if cl.stream != nil {
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
	case cl.batch != nil && frame == nil && cl.id != nil:
		c.batchOutcomeLocked(cl.batch, cl.id, replyHead, cl.id, replyResult, raw, replyEnd[:1])
	case cl.batch != nil:
		c.batchOutcomeLocked(cl.batch, cl.id, frame)
	case cl.id == nil || c.gone || c.closed:
		c.freePlacesLocked(1)
	case cl.stream != nil:
		cl.stream.finishLocked(append(frame, '\n'), wire == nil || wire.Code != CodeCancelled)
	case frame != nil:
		c.out.put(frame, newline)
		c.out.places++
	default:
		owner = c.out.putResult(cl.id, raw, owner)
		c.out.places++
	}
	c.settle()
	owner.free()
	c.observe(cl, started, wire)
	return true
}

// checkReply says what is wrong with a result as a reply.
func (c *conn) checkReply(cl *call, raw RawMessage, owner *buffer) *Error {
	if len(raw)+len(cl.id)+replyOverhead > c.limits().MaxMessageBytes {
		return c.srv.adm.replyTooLarge(ExecutedYes)
	}
	if (owner == nil || owner.conn == nil) && !c.srv.adm.mayReply(c, len(raw)) {
		return c.srv.adm.replyBeyondShare()
	}
	return nil
}

// reply is the outcome of a call that nobody but the reader knows.
func (c *conn) reply(rd *reader, cl *call, raw RawMessage, wire *Error) {
	if cl.id != nil {
		if wire == nil {
			wire = c.checkReply(cl, raw, cl.buf)
		}
		switch {
		case wire != nil:
			c.append(rd, c.bounded(cl.id, wire))
		case len(raw) <= copyLimit:
			c.appendResult(rd, cl.id, raw)
		default:
			c.replyLarge(rd, cl, raw)
		}
	}
	cl.buf.free()
	c.observe(cl, cl.started, wire)
}

// replyLarge is reply for a result that is not copied, but written from where it
// stands.
func (c *conn) replyLarge(rd *reader, cl *call, raw RawMessage) {
	c.mu.Lock()
	if !c.gone && !c.closed {
		c.taken.Add(1)
		cl.buf = c.out.putResult(cl.id, raw, cl.buf)
		c.out.places++
	}
	c.mu.Unlock()
	rd.dirty = true
	rd.backlog += len(raw)
}

// append puts one frame among the reader's replies.
func (c *conn) append(rd *reader, frame []byte) {
	_ = append(append(c.roomFor(rd, len(frame)+1), frame...), '\n')
}

// appendResult is append for nearly all there is to append.
func (c *conn) appendResult(rd *reader, id, raw []byte) {
	b := c.roomFor(rd, replyOverhead+1+len(id)+len(raw))
	b = append(b, replyHeadText...)
	b = append(b, id...)
	b = append(b, replyResultText...)
	b = append(b, raw...)
	_ = append(b, replyEndText...)
}

// roomFor returns where the next reply of size bytes goes, and counts it.
func (c *conn) roomFor(rd *reader, size int) []byte {
	if rd.out != nil && rd.used+size > len(rd.out.b) {
		c.mu.Lock()
		c.handOverLocked(rd)
		c.mu.Unlock()
		rd.dirty = true
	}
	if rd.out == nil {
		rd.out = newBuffer(max(size, min(rd.backlog, copyLimit)))
	}
	start := rd.used
	rd.used += size
	rd.backlog += size
	rd.places++
	return rd.out.b[start:start:rd.used]
}

// handOverLocked moves the reader's replies to the connection's output.
func (c *conn) handOverLocked(rd *reader) {
	if rd.out == nil {
		return
	}
	if c.gone || c.closed {
		rd.out.free()
	} else {
		c.out.putBuffer(rd.out, rd.used)
		c.out.places += rd.places
		c.taken.Add(int32(rd.places))
	}
	rd.out, rd.used, rd.places = nil, 0, 0
}

var (
	newline       = []byte{'\n'}
	arrayBegin    = []byte{'['}
	itemSeparator = []byte{','}
	arrayEnd      = []byte("]\n")
)

// batchOutcomeLocked takes in the outcome of one item, whose reply is the
// concatenation of parts; nothing for a notification. The caller's place is given
// back, or kept for the array.
func (c *conn) batchOutcomeLocked(b *batch, id []byte, parts ...[]byte) {
	limit := c.limits().MaxMessageBytes
	if size := totalLen(parts); size > 0 {
		if b.out.bytes+size+2 > limit {
			parts = [][]byte{errorReply(id, c.srv.adm.replyTooLarge(ExecutedYes))}
		} else if !c.srv.adm.mayReply(c, size) {
			parts = [][]byte{errorReply(id, c.srv.adm.replyBeyondShare())}
		}
		separator := itemSeparator
		if b.out.bytes == 0 {
			separator = arrayBegin
		}
		before := b.out.bytes
		b.out.append(separator)
		b.out.append(parts...)
		c.chargeOutput(b.out.bytes - before)
	}
	b.left--
	if b.left > 0 {
		c.freePlacesLocked(1)
		return
	}
	c.forgetBatchLocked(b)
	if b.out.bytes == 0 || c.gone || c.closed {
		b.out.free()
		c.freePlacesLocked(1)
		return
	}
	b.out.append(arrayEnd)
	if b.out.bytes-1 > limit {
		b.out.free()
		b.out.append(errorReply(nil, c.srv.adm.replyTooLarge(ExecutedUnknown)), newline)
	}
	c.out.putPieces(&b.out)
	c.out.places++
}

// refuse answers what never became a call.
func (c *conn) refuse(rd *reader, b *batch, id []byte, wire *Error) {
	c.put(rd, b, id, c.bounded(id, wire))
	c.observeRefusal("", wire)
}

// reject answers a call that was not registered, unless it is a notification:
// that never gets a reply.
func (c *conn) reject(rd *reader, cl *call, wire *Error) {
	if cl.id == nil {
		c.skip(rd, cl.batch)
	} else {
		c.put(rd, cl.batch, cl.id, c.bounded(cl.id, wire))
	}
	c.observeRefusal(cl.req.Method, wire)
}

func (c *conn) rejectEnvelope(rd *reader, env *envelope, b *batch, wire *Error) {
	if env.id == nil {
		c.skip(rd, b)
		return
	}
	c.put(rd, b, env.id, c.bounded(env.id, wire))
}

// put queues a frame that belongs to no registered call.
func (c *conn) put(rd *reader, b *batch, id, frame []byte) {
	if b == nil {
		c.append(rd, frame)
		return
	}
	c.mu.Lock()
	c.taken.Add(1)
	c.batchOutcomeLocked(b, id, frame)
	c.settle()
	rd.dirty = true
}

// skip is the outcome of an item that gets no reply.
func (c *conn) skip(rd *reader, b *batch) {
	if b != nil {
		c.put(rd, b, nil, nil)
	}
}

// bounded returns the frame of an error. An id that leaves no room for it is
// not repeated.
func (c *conn) bounded(id []byte, wire *Error) []byte {
	limit := c.limits().MaxMessageBytes
	frame := errorReply(id, wire)
	if len(frame) > limit {
		tooLarge := c.srv.adm.replyTooLarge(ExecutedBy(wire))
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
func (c *conn) observe(cl *call, started time.Duration, wire *Error) {
	if !c.srv.watchers.active() || c.guest.probe {
		return
	}
	e := Event{Kind: EventCall, Time: time.Now(), Peer: c.peer, Method: cl.method.Name, RequestID: cl.requestID()}
	e.Duration = e.Time.Sub(c.opened) - started
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
