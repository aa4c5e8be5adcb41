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
	deaf chan struct{} // closed with notice set, for good: the server reads no more
	done chan struct{} // closed with err set

	mu      sync.Mutex
	closing bool
	cancels sync.WaitGroup // cancels on their way; none is added once closing
	lastID  uint64
	waiting map[uint64]*pending
	batches []*clientBatch // sent and not answered, the oldest first
	served  bool           // the server has answered a call, or sent an event
	notice  *Error         // an error reply that belonged to no call
	before  uint64         // the last id when notice came
	err     error          // why the connection has ended
}

// pending is a call that waits for its reply.
type pending struct {
	reply  chan clientReply // of capacity 1; gets one reply, or the end of the connection
	stream *ClientStream
	size   int // of its message, in bytes; 0 before it is sent
}

// clientReply is a result or an error.
type clientReply struct {
	result   RawMessage
	err      error    // *Error, or why the connection has ended
	executed Executed // of err; "" where err itself says it
}

// NewClient returns a client that owns nc: Close closes it.
func NewClient(nc net.Conn, opts ClientOptions) *Client {
	c := &Client{
		nc: nc, max: opts.MaxMessageBytes,
		turn: make(chan struct{}, 1), deaf: make(chan struct{}), done: make(chan struct{}),
		waiting: make(map[uint64]*pending),
	}
	if c.max == 0 {
		c.max = DefaultLimits().MaxMessageBytes
	}
	go c.read()
	return c
}

// Call calls method and decodes its result into what result points to, unless
// that is nil. params encode as a JSON object or array; a RawMessage or []byte
// is sent as it is, and nil sends none. Member names match by exact case.
//
// When ctx ends, Call returns at once, and the server is told to cancel. An
// error is a *CallError, or says that params do not encode or that the result
// does not decode.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	raw, err := encodeParams(method, params, inCall)
	if err != nil {
		return err
	}
	reply, err := c.CallRaw(ctx, method, raw)
	if err != nil || result == nil {
		return err
	}
	return decodeResult(method, reply, result)
}

func decodeResult(method string, raw RawMessage, result any) error {
	if err := json.Unmarshal(raw, result); err != nil {
		return fmt.Errorf("rpc: the result of %s does not decode: %w", method, err)
	}
	return nil
}

// CallRaw is Call with params and result as they stand on the wire. nil params
// are not sent.
func (c *Client) CallRaw(ctx context.Context, method string, params RawMessage) (RawMessage, error) {
	raw, err := encodeParams(method, params, inCall)
	if err != nil {
		return nil, err
	}
	p := &pending{reply: make(chan clientReply, 1)}
	id, err := c.start(ctx, p, method, raw)
	if err != nil {
		return nil, err
	}
	return c.await(ctx, id, p, method)
}

// start registers a call and sends it.
func (c *Client) start(ctx context.Context, p *pending, method string, params RawMessage) (id uint64, err error) {
	if id, err = c.enter(p); err != nil {
		return 0, sendError(method, err)
	}
	frame := requestFrame(method, params, id)
	c.mu.Lock()
	p.size = len(frame) - 1
	c.mu.Unlock()
	if err := c.send(ctx, frame); err != nil {
		c.leave(id)
		return 0, sendError(method, err)
	}
	return id, nil
}

// await waits for the reply to a call. One that is there counts, even if ctx
// has ended meanwhile.
func (c *Client) await(ctx context.Context, id uint64, p *pending, method string) (RawMessage, error) {
	var r clientReply
	select {
	case r = <-p.reply:
	case <-ctx.Done():
		if c.cancel(id) {
			return nil, &CallError{method, ExecutedUnknown, ctx.Err()}
		}
		r = <-p.reply // is delivered by who took the call out of waiting
	}
	return r.result, callFailure(method, r)
}

// Notify sends a notification: nothing comes back, whatever becomes of it.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	raw, err := encodeParams(method, params, inCall)
	if err != nil {
		return err
	}
	if err := c.send(ctx, requestFrame(method, raw, 0)); err != nil {
		return sendError(method, err)
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
// It reports whether the call was still waiting.
func (c *Client) cancel(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[id] == nil {
		return false
	}
	delete(c.waiting, id)
	if c.closing {
		return true
	}
	c.cancels.Go(func() {
		ctx, stop := context.WithTimeout(context.Background(), cancelTimeout)
		defer stop()
		params := strconv.AppendUint([]byte(`{"id":`), id, 10)
		_ = c.send(ctx, requestFrame(cancelMethod, append(params, '}'), 0)) // the call has been given up anyway
	})
	return true
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
	ended := make(map[*pending]clientReply, len(c.waiting))
	for _, p := range c.waiting {
		ended[p] = clientReply{err: reason, executed: c.executedAtEndLocked(reason, p.size)}
	}
	c.waiting, c.batches = nil, nil
	close(c.done)
	c.mu.Unlock()
	_ = c.nc.Close() // the kernel releases the socket whatever it says
	for p, r := range ended {
		p.end(r)
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
