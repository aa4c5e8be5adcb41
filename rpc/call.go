package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"
)

// call is one request from its envelope to its reply.
//
// Its handler runs on one goroutine. While that is the reader's, and nobody has
// taken the reading over, nobody else knows the call, and once it has ended the
// reader uses it for the next one. Once it is registered,
// its reply may also come from its timer, from a cancel, or from the end of a
// drain. Whoever sets answered first, under conn.mu, replies; the others drop
// what they have.
type call struct {
	*callContext
	method  *Method
	id      []byte  // raw; nil for a notification. In the read buffer until the call is registered
	silent  bool    // a notification
	batch   *batch  // that collects the reply; nil for a single call
	buf     *buffer // that params stand in, if it is the call's own
	charged int     // bytes of params that are a copy
	stream  *Stream // for streaming methods
	place   place
	values  freer         // of its typed handler, or of that of the call before
	started time.Duration // since conn.opened
	timeout time.Duration // from then on; 0: none

	// For calls that run on a goroutine of their own: previous is closed when
	// the call before has begun, begins when this one has.
	previous <-chan struct{}
	begins   chan struct{}

	// registered is set, and read, by who has the reader's role; the rest is
	// guarded by conn.mu.
	registered bool
	begun      bool // is past its queue
	answered   bool
	timer      *time.Timer
}

// setDeadline tells the handler when its time will be over.
func (c *call) setDeadline() {
	if c.timeout > 0 {
		c.deadline = c.started + min(c.timeout, math.MaxInt64-c.started)
	}
}

// endsWithPeer reports whether the call is pointless without its client.
func (c *call) endsWithPeer() bool { return c.stream != nil || c.method.CancelOnDisconnect }

// errEnded is the outcome of a handler that ended because it was told to. Who
// told it has answered the call before.
var errEnded = Errorf(CodeCancelled, "the call was ended")

// errPanic is a handler's panic, with its stack, on its way to the log.
type errPanic struct {
	value any
	stack []byte
}

func (e *errPanic) Error() string { return fmt.Sprintf("panic: %v", e.value) }

var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit)")

// run runs the handler and returns its outcome. A panic ends here; after
// runtime.Goexit the deferred calls of the callers still run.
func (c *call) run() (raw RawMessage, wire *Error) {
	defer func() {
		if v := recover(); v != nil {
			raw, wire = nil, c.wireError(&errPanic{v, debug.Stack()})
		}
	}()
	raw, err := c.invoke()
	if err != nil {
		raw, wire = nil, c.wireError(err)
	}
	return raw, wire
}

func (c *call) invoke() (raw RawMessage, err error) {
	var result any
	if c.stream != nil {
		result, err = c.method.Stream(c.callContext, &c.req, c.stream)
	} else if f, ok := c.method.Handler.(RawFunc); ok {
		c.freeValues() // of the call before
		if raw, err = f(c.callContext, &c.req); err == nil && !c.silent {
			raw, err = c.encodeRaw(raw)
		}
		return raw, err
	} else if t, ok := c.method.Handler.(typed); ok {
		return t.run(c)
	} else {
		c.freeValues() // of the call before
		result, err = c.method.Handler.ServeRPC(c.callContext, &c.req)
	}
	if err == nil && !c.silent {
		raw, err = c.encode(result)
	}
	return raw, err
}

// finish is the end of the handler of a registered call: it gives the slot back
// and queues the reply, which is not written yet.
func (c *call) finish(raw RawMessage, wire *Error) {
	c.release()
	c.complete(raw, wire)
}

func (c *call) complete(raw RawMessage, wire *Error) {
	c.conn.answer(c, raw, wire, c.buf)
	c.letGo()
	c.end(context.Canceled) // frees what the handler hung on its context
}

// letGo gives back what held the params of a registered call.
func (c *call) letGo() {
	if c.charged > 0 {
		c.conn.giveBack(grant{bytes: c.charged})
		c.charged = 0
	}
	if c.batch != nil && c.registered {
		c.batch.release()
	}
	c.freeValues()
}

func (c *call) freeValues() {
	if c.values != nil {
		c.values.free()
		c.values = nil
	}
}

// discard frees what a call holds whose handler will not run.
func (c *call) discard() {
	c.letGo()
	c.buf.free()
	c.buf = nil
}

// release gives back what admission gave.
func (c *call) release() {
	if next := c.releaseTo(); next != nil {
		next.start()
	}
}

// releaseTo is release for a caller that runs next, a call that has a slot now.
func (c *call) releaseTo() (next *call) {
	adm := c.conn.srv.adm
	if c.stream != nil {
		adm.closeStream()
		return nil
	}
	return adm.release(c)
}

// start runs a call on a goroutine of its own: one that waited for its slot, or
// a stream. The goroutine goes on with the call that its slot passes to: where
// many wait, a goroutine for each would cost more than the calls.
func (c *call) start() {
	go func() {
		for next := c; next != nil; {
			next = next.runAlone()
		}
	}()
}

// runAlone runs a call outside the reader and returns the one that has its slot
// now.
func (c *call) runAlone() (next *call) {
	if !c.conn.begin(c) {
		next = c.releaseTo()
		c.discard()
		return next
	}
	returned := false
	defer func() {
		if !returned { // the handler ended this goroutine
			c.finish(nil, c.wireError(errGoexit))
			c.conn.flush()
		}
	}()
	raw, wire := c.run()
	returned = true
	c.method.slowness.took(c.conn.age() - c.started)
	next = c.releaseTo()
	c.complete(raw, wire)
	c.conn.flushWithoutWaiting() // a slow reader must not hold up next
	return next
}

// encode returns a handler's result as one line of JSON, as take does; it may also
// be the handler's.
func (c *call) encode(result any) (RawMessage, error) {
	if raw, ok := result.(RawMessage); ok {
		return c.encodeRaw(raw)
	}
	e, err := marshal(result)
	if err != nil {
		return nil, fmt.Errorf("the result does not encode: %w", err)
	}
	return c.take(e)
}

// encodeRaw is encode for JSON text.
func (c *call) encodeRaw(raw RawMessage) (RawMessage, error) {
	if sameMemory(raw, c.req.Params) {
		return raw, nil // checked when it came in
	}
	return c.take(encodedText(raw))
}

// take returns a result as one line of JSON. It stands in c.buf, or has memory of
// its own.
func (c *call) take(e encoded) (RawMessage, error) {
	if e.buf != nil { // the handler has returned, and needs its params no more
		c.buf.free()
		c.buf = e.buf
	}
	if n := c.conn.limits().MaxMessageBytes; len(e.text) > n {
		return nil, c.conn.srv.adm.replyTooLarge(ExecutedYes)
	}
	if e.valid {
		return e.text, nil
	}
	raw, err := validJSON(e.text)
	if err != nil {
		return nil, fmt.Errorf("the result is no JSON: %w", err)
	}
	return raw, nil
}

func sameMemory(a, b []byte) bool { return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] }

// wireError is the one place that turns an error into what a client reads.
func (c *call) wireError(err error) *Error {
	var wire *Error
	if errors.As(err, &wire) {
		return wire
	}
	if ended := c.Err(); ended != nil && errors.Is(err, ended) {
		if ended == context.DeadlineExceeded {
			return c.conn.srv.adm.requestTimeout(c.timeout)
		}
		return errEnded
	}
	fields := logrus.Fields{"request": c.requestID(), "method": c.method.Name, "error": err}
	var p *errPanic
	if errors.As(err, &p) {
		fields["stack"] = string(p.stack)
	}
	c.conn.complain(logrus.ErrorLevel, fields, "call failed")
	return &Error{
		Code:    CodeInternalError,
		Message: "internal error; the server's log has the cause under the request id",
		Data:    &ErrorData{Reason: "internal", Executed: ExecutedUnknown, RequestID: c.requestID()},
	}
}
