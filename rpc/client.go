package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// ErrClientClosed is why the calls of a Client fail after its Close.
var ErrClientClosed = errors.New("rpc: client closed")

// ClientOptions are the settings of a Client. The zero value means the
// defaults.
type ClientOptions struct {
	// MaxMessageBytes is the largest frame that is accepted, its newline not
	// counted, in bytes. A larger one ends the connection. Default 16 MiB.
	MaxMessageBytes int
}

// Client makes calls over one connection. Its methods may be used from any
// number of goroutines at once; replies find their calls in any order.
//
// A Client does not reconnect and does not retry: CallError.Executed tells
// whether sending a call again is safe.
type Client struct {
	nc  net.Conn
	max int

	// turn is held by the goroutine that writes a frame.
	turn chan struct{}
	done chan struct{} // closed with err set

	mu      sync.Mutex
	closing bool
	cancels sync.WaitGroup // cancels on their way; none is added once closing
	lastID  uint64
	waiting map[uint64]*pending
	batches []*clientBatch // sent and not answered, the oldest first
	notice  *Error         // an error reply that belonged to no call
	err     error          // why the connection has ended
}

// pending is a call that waits for its reply.
type pending struct {
	reply  chan clientReply // of capacity 1; gets one reply, or the end of the connection
	stream *ClientStream
}

// clientReply is a result or an error.
type clientReply struct {
	result RawMessage
	err    error // *Error, or why the connection has ended
}

// CallError is the failure of a call.
type CallError struct {
	Method string
	// Executed says whether the call may have had an effect.
	Executed Executed
	// Err is an *Error of the server's, the context's error, or why the
	// connection has ended.
	Err error
}

// Error returns the method, the cause, and whether the call was executed.
func (e *CallError) Error() string {
	state := map[Executed]string{
		ExecutedNo: "it was not executed", ExecutedYes: "it was executed", ExecutedUnknown: "it may have been executed",
	}[e.Executed]
	return fmt.Sprintf("call %s: %v; %s", e.Method, e.Err, state)
}

// Unwrap returns Err.
func (e *CallError) Unwrap() error { return e.Err }

// NewClient returns a client that owns nc: Close closes it.
func NewClient(nc net.Conn, opts ClientOptions) *Client {
	c := &Client{
		nc: nc, max: opts.MaxMessageBytes,
		turn: make(chan struct{}, 1), done: make(chan struct{}),
		waiting: make(map[uint64]*pending),
	}
	if c.max == 0 {
		c.max = DefaultLimits().MaxMessageBytes
	}
	go c.read()
	return c
}

// Call calls method and decodes its result into what result points to, unless
// that is nil. params encode as JSON; a RawMessage is sent as it is, and nil
// sends none. Member names match by exact case.
//
// When ctx ends, Call returns at once, and the server is told to cancel. An
// error is a *CallError, or says that params do not encode or that the result
// does not decode.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	raw, err := encodeParams(method, params)
	if err != nil {
		return err
	}
	reply, err := c.CallRaw(ctx, method, raw)
	if err != nil || result == nil {
		return err
	}
	if err := json.Unmarshal(reply, result); err != nil {
		return fmt.Errorf("rpc: the result of %s does not decode: %w", method, err)
	}
	return nil
}

// CallRaw is Call with params and result as they stand on the wire. nil params
// are not sent.
func (c *Client) CallRaw(ctx context.Context, method string, params RawMessage) (RawMessage, error) {
	raw, err := encodeParams(method, params)
	if err != nil {
		return nil, err
	}
	p := &pending{reply: make(chan clientReply, 1)}
	id, err := c.enter(p)
	if err == nil {
		err = c.send(ctx, requestFrame(method, raw, id))
	}
	if err != nil {
		c.leave(id)
		return nil, c.sendError(method, err)
	}
	select {
	case r := <-p.reply:
		return r.result, callFailure(method, r.err)
	case <-ctx.Done():
		c.cancel(id)
		return nil, &CallError{method, ExecutedUnknown, ctx.Err()}
	}
}

// Notify sends a notification: nothing comes back, whatever becomes of it.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	raw, err := encodeParams(method, params)
	if err != nil {
		return err
	}
	if err := c.send(ctx, requestFrame(method, raw, 0)); err != nil {
		return c.sendError(method, err)
	}
	return nil
}

// Close closes the connection. Calls that wait for a reply fail with
// ErrClientClosed. Cancels that are on their way leave first, which takes at
// most a second.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.cancels.Wait()
	c.fail(ErrClientClosed)
	return nil
}

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended: ErrClientClosed, an *Error that the
// server sent for the connection as a whole, io.EOF, or what went wrong; nil
// while it is open.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// enter registers a call under a new id.
func (c *Client) enter(p *pending) (id uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, &unsent{c.err}
	}
	c.lastID++
	c.waiting[c.lastID] = p
	return c.lastID, nil
}

// leave forgets a call; a late reply is dropped.
func (c *Client) leave(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// cancelTimeout is how long telling the server of a cancel may take.
const cancelTimeout = time.Second

// cancel gives a call up and tells the server, without making the caller wait.
func (c *Client) cancel(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[id] == nil || c.closing {
		return
	}
	delete(c.waiting, id)
	c.cancels.Go(func() {
		ctx, stop := context.WithTimeout(context.Background(), cancelTimeout)
		defer stop()
		params := strconv.AppendUint([]byte(`{"id":`), id, 10)
		_ = c.send(ctx, requestFrame(cancelMethod, append(params, '}'), 0)) // the call has been given up anyway
	})
}

// unsent is a failure before any byte of a frame was written.
type unsent struct{ cause error }

func (e *unsent) Error() string { return e.cause.Error() }
func (e *unsent) Unwrap() error { return e.cause }

// send writes one frame. When ctx ends in the middle of it the connection is of
// no use any more, and is closed.
func (c *Client) send(ctx context.Context, frame []byte) error {
	if err := ctx.Err(); err != nil {
		return &unsent{err}
	}
	select {
	case c.turn <- struct{}{}:
	case <-c.done:
		return &unsent{c.Err()}
	case <-ctx.Done():
		return &unsent{ctx.Err()}
	}
	defer func() { <-c.turn }()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0)) // fails only where the connection has ended
		close(stopped)
	})
	n, err := c.nc.Write(frame)
	if !stop() {
		<-stopped
		if dlErr := c.nc.SetWriteDeadline(time.Time{}); err == nil && dlErr != nil {
			c.fail(dlErr)
		}
	}
	if err == nil {
		return nil
	}
	cause := err
	if ctx.Err() != nil {
		cause = ctx.Err()
		if n > 0 {
			c.fail(fmt.Errorf("rpc: a message was cut off: %w", cause))
		}
	} else {
		c.readOn(err)
		if ended := c.Err(); ended != nil {
			cause = ended
		}
	}
	if n == 0 {
		return &unsent{cause}
	}
	return cause
}

// readOn waits, after a failed write, for what the server said before it closed
// the connection: the reason for it.
func (c *Client) readOn(err error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(cancelTimeout))
	<-c.done
	c.fail(err)
}

// sendError makes the CallError of a call that was not sent whole.
func (c *Client) sendError(method string, err error) error {
	var u *unsent
	if errors.As(err, &u) {
		return &CallError{method, ExecutedNo, u.cause}
	}
	return &CallError{method, ExecutedUnknown, err}
}

// callFailure makes the CallError of a reply.
func callFailure(method string, err error) error {
	if err == nil {
		return nil
	}
	return &CallError{method, executedBy(err), err}
}

// executedBy tells from a reply whether its call was executed.
func executedBy(err error) Executed {
	var e *Error
	if !errors.As(err, &e) {
		return ExecutedUnknown
	}
	var data ErrorData
	switch d := e.Data.(type) {
	case *ErrorData:
		data = *d
	case RawMessage:
		_ = json.Unmarshal(d, &data) // an application's data may be anything
	}
	switch data.Executed {
	case ExecutedNo, ExecutedYes, ExecutedUnknown:
		return data.Executed
	}
	switch e.Code {
	case CodeParseError, CodeInvalidRequest, CodeMethodNotFound, CodeInvalidParams, CodeNotAuthorized:
		return ExecutedNo
	case CodeInternalError:
		return ExecutedUnknown
	}
	return ExecutedYes
}

// fail ends the connection; the first reason counts.
func (c *Client) fail(reason error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if c.notice != nil && reason != ErrClientClosed {
		reason = c.notice
	}
	c.err = reason
	waiting := c.waiting
	c.waiting, c.batches = nil, nil
	close(c.done)
	c.mu.Unlock()
	_ = c.nc.Close() // the kernel releases the socket whatever it says
	for _, p := range waiting {
		p.end(clientReply{err: reason})
	}
}

// end delivers the reply.
func (p *pending) end(r clientReply) {
	if p.stream != nil {
		p.stream.finish(r)
		return
	}
	p.reply <- r
}

// read takes in replies until the connection ends.
func (c *Client) read() {
	lines := bufio.NewReaderSize(c.nc, 16<<10)
	for {
		line, err := readLine(lines, c.max)
		if err == nil {
			err = c.takeIn(line)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// readLine returns the next line in memory of its own.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit+2 || (err == nil && len(line) > limit+1 && line[len(line)-2] != '\r') {
			return nil, fmt.Errorf("rpc: the server sent a message larger than %d bytes", limit)
		}
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, fmt.Errorf("rpc: the connection ended within a message: %w", io.ErrUnexpectedEOF)
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// requestFrame returns the frame of a call, or of a notification if id is 0.
func requestFrame(method string, params RawMessage, id uint64) []byte {
	b := append(appendRequest(make([]byte, 0, 64+len(method)+len(params)), method, params, id), '\n')
	return b
}

func appendRequest(b []byte, method string, params RawMessage, id uint64) []byte {
	b = appendString(append(b, `{"jsonrpc":"2.0","method":`...), method)
	if params != nil {
		b = append(append(b, `,"params":`...), params...)
	}
	if id != 0 {
		b = strconv.AppendUint(append(b, `,"id":`...), id, 10)
	}
	return append(b, '}')
}

// encodeParams returns params as one line of JSON; nil for none.
func encodeParams(method string, params any) (RawMessage, error) {
	if params == nil {
		return nil, nil
	}
	if raw, ok := params.(RawMessage); ok && raw == nil {
		return nil, nil
	}
	raw, err := encodeResult(params)
	if err == nil {
		raw, err = validJSON(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("rpc: the params of %s do not encode: %w", method, err)
	}
	return raw, nil
}
