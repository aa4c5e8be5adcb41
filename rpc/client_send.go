package rpc

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// reasonTimeout is how long a failed write waits for what the server says of
// it.
const reasonTimeout = time.Second

// unsent is a failure to send a frame that has had no effect: no byte of it was
// written, or the server has refused it.
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
	case <-c.deaf:
		return &unsent{c.reason()}
	case <-c.done:
		return &unsent{c.reason()}
	case <-ctx.Done():
		return &unsent{ctx.Err()}
	}
	defer func() { <-c.turn }()
	if c.isDeaf() { // from here on stopWriting reaches the write
		return &unsent{c.reason()}
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.stopWriting()
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
	cause := ctx.Err()
	switch {
	case cause == nil:
		cause = c.awaitReason(ctx, err)
	case n > 0 && !c.isDeaf():
		c.fail(fmt.Errorf("rpc: a message was cut off: %w", cause))
	}
	if n == 0 || c.executedAtEnd(cause, len(frame)-1) == ExecutedNo {
		return &unsent{cause}
	}
	return cause
}

// stopWriting makes the write that is going on fail.
func (c *Client) stopWriting() {
	_ = c.nc.SetWriteDeadline(time.Unix(1, 0)) // fails only where the connection has ended
}

// awaitReason returns why a write failed. The server may have said so before
// it closed the connection, or its half of it.
func (c *Client) awaitReason(ctx context.Context, err error) error {
	select {
	case <-c.deaf:
	case <-c.done:
	case <-time.After(reasonTimeout):
		c.fail(err)
	case <-ctx.Done():
		c.fail(err)
	}
	return c.reason()
}

// reason is why nothing can be sent any more.
func (c *Client) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.notice != nil {
		return c.notice
	}
	return c.err
}

func (c *Client) isDeaf() bool {
	select {
	case <-c.deaf:
		return true
	default:
		return false
	}
}

// requestFrame returns the frame of a call, or of a notification if id is 0.
func requestFrame(method string, params RawMessage, id uint64) []byte {
	return append(appendRequest(make([]byte, 0, 64+len(method)+len(params)), method, params, id), '\n')
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
