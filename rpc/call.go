package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// call is one request from its envelope to its reply.
//
// Its handler runs on one goroutine; its reply may come from there, from its
// timer, from a cancel, or from the end of a drain. Whoever sets answered
// first, under conn.mu, replies; the others drop what they have.
type call struct {
	conn    *conn
	method  *Method
	req     Request
	id      []byte // raw; nil for a notification. A copy: who cancels may read it late
	idSpace [24]byte
	number  uint64 // of the server's requests, for logs
	started time.Time
	timeout time.Duration // 0: none
	batch   *batch        // that collects the reply; nil for a single call
	buf     *buffer       // that params stand in, if it is the call's own
	stream  *Stream       // for streaming methods

	place place // guarded by admission.mu

	// For calls that run on a goroutine of their own: previous is closed when
	// the call before has begun, begins when this one has.
	previous <-chan struct{}
	begins   chan struct{}

	// Guarded by conn.mu.
	begun    bool // is past its queue
	answered bool
	timer    *time.Timer

	ctx callContext
}

// endsWithPeer reports whether the call is pointless without its client.
func (c *call) endsWithPeer() bool { return c.stream != nil || c.method.CancelOnDisconnect }

// requestID returns the name of the call in logs.
func (c *call) requestID() string { return fmt.Sprintf("%s-%d", c.conn.srv.bootID, c.number) }

// callContext makes what a context costs only for handlers that use it: most
// never ask whether they should stop, and need neither channel nor timer.
type callContext struct {
	mu     sync.Mutex
	real   context.Context // made on first use
	cancel context.CancelCauseFunc
	stop   context.CancelFunc
	ended  error // cause; set once
}

// Deadline, Done, Err and Value make a call the context of its handler.
func (c *call) Deadline() (time.Time, bool) {
	if c.timeout == 0 {
		return time.Time{}, false
	}
	return c.started.Add(c.timeout), true
}

func (c *call) Done() <-chan struct{} { return c.realContext().Done() }

func (c *call) Err() error {
	c.ctx.mu.Lock()
	real := c.ctx.real
	if real == nil && c.ctx.ended == nil {
		c.ctx.mu.Unlock()
		return nil
	}
	c.ctx.mu.Unlock()
	return c.realContext().Err()
}

func (c *call) Value(key any) any {
	if key == (requestKey{}) {
		return &c.req
	}
	// The real context must answer: package context finds its own kind of
	// parent by a value.
	return c.realContext().Value(key)
}

func (c *call) realContext() context.Context {
	x := &c.ctx
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.real == nil {
		x.real, x.cancel = context.WithCancelCause(context.Background())
		if deadline, ok := c.Deadline(); ok {
			x.real, x.stop = context.WithDeadline(x.real, deadline)
		}
		if x.ended != nil {
			x.cancel(x.ended)
		}
	}
	return x.real
}

// end ends the handler's context. The first cause stays.
func (c *call) end(cause error) {
	x := &c.ctx
	x.mu.Lock()
	if x.ended == nil {
		x.ended = cause
	}
	cancel, stop := x.cancel, x.stop
	x.mu.Unlock()
	if cancel != nil {
		cancel(cause) // runs functions of the handler's: not under the lock
	}
	if stop != nil {
		stop()
	}
}

// errPanic is a handler's panic, with its stack, on its way to the log.
type errPanic struct {
	value any
	stack []byte
}

func (e *errPanic) Error() string { return fmt.Sprintf("panic: %v", e.value) }

var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit)")

// execute runs the handler, gives the slot back and queues the reply, which is
// not written yet. A panic ends here; after runtime.Goexit the deferred calls
// of the callers still run.
func (c *call) execute() {
	var result any
	err := errGoexit
	defer func() {
		if err == errGoexit {
			if v := recover(); v != nil {
				err = &errPanic{v, debug.Stack()}
			}
		}
		c.finish(result, err)
	}()
	result, err = c.invoke()
}

func (c *call) invoke() (any, error) {
	if c.stream != nil {
		return c.method.Stream(c, &c.req, c.stream)
	}
	return c.method.Handler.ServeRPC(c, &c.req)
}

// finish is the end of the handler.
func (c *call) finish(result any, err error) {
	var raw RawMessage
	if err == nil && c.id != nil {
		raw, err = c.encode(result)
	}
	var wire *Error
	if err != nil {
		wire = c.wireError(err)
	}
	c.release()
	c.conn.answer(c, raw, wire, c.buf)
	c.end(context.Canceled) // frees what the handler hung on its context
}

// release gives back what admission gave.
func (c *call) release() {
	adm := c.conn.srv.adm
	if c.stream != nil {
		adm.closeStream()
	} else if next := adm.release(c); next != nil {
		next.start()
	}
}

// start runs a call on a goroutine of its own: one that waited for its slot, or
// a stream.
func (c *call) start() {
	go func() {
		defer c.conn.flush()
		if c.conn.begin(c) {
			c.execute()
		} else {
			c.release()
		}
	}()
}

func (c *call) encode(result any) (RawMessage, error) {
	raw, err := encodeResult(result)
	if err != nil {
		return nil, fmt.Errorf("the result does not encode: %w", err)
	}
	if sameMemory(raw, c.req.Params) {
		return raw, nil // checked when it came in
	}
	if n := c.conn.srv.adm.limits.MaxMessageBytes; len(raw) > n {
		return nil, c.conn.srv.adm.replyTooLarge(ExecutedYes)
	}
	if raw, err = validJSON(raw); err != nil {
		return nil, fmt.Errorf("the result is no JSON: %w", err)
	}
	return raw, nil
}

// validJSON returns raw as one line if it is a JSON text.
func validJSON(raw RawMessage) (RawMessage, error) {
	end, err := skipValue(raw, 0, 0)
	if err == nil {
		err = trailing(raw, end)
	}
	if err != nil {
		return nil, err
	}
	return oneLine(raw), nil
}

func sameMemory(a, b []byte) bool { return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] }

// oneLine returns valid JSON without newlines: there they can only be white
// space, and a frame must not hold one.
func oneLine(raw RawMessage) RawMessage {
	if bytes.IndexByte(raw, '\n') < 0 {
		return raw
	}
	return bytes.ReplaceAll(raw, []byte{'\n'}, []byte{' '})
}

// wireError is the one place that turns an error into what a client reads.
func (c *call) wireError(err error) *Error {
	var wire *Error
	if errors.As(err, &wire) {
		return wire
	}
	if errors.Is(err, context.DeadlineExceeded) && c.Err() == context.DeadlineExceeded {
		return c.conn.srv.adm.requestTimeout(c.timeout)
	}
	entry := c.conn.log().WithField("request", c.requestID()).WithField("method", c.method.Name)
	var p *errPanic
	if errors.As(err, &p) {
		entry = entry.WithField("stack", string(p.stack))
	}
	entry.WithError(err).Error("call failed")
	return &Error{
		Code:    CodeInternalError,
		Message: "internal error; the server's log has the cause under the request id",
		Data:    &ErrorData{Reason: "internal", Executed: ExecutedUnknown, RequestID: c.requestID()},
	}
}
