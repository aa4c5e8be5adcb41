package rpc

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// BatchCall is one item of a batch.
type BatchCall struct {
	Method string
	Params any // as for Call
	// Notification: nothing comes back.
	Notification bool
	// Result, if not nil, points to where the result is decoded.
	Result any
	// Err is the outcome, set by Batch: as the error of Call.
	Err error
}

// clientBatch is a batch that was sent and not answered.
type clientBatch struct{ ids []uint64 }

// Batch sends calls in one message (JSON-RPC 2.0, section 6) and waits for all
// replies. Each call's Err says what became of it; Batch itself returns the
// first of them.
func (c *Client) Batch(ctx context.Context, calls []*BatchCall) error {
	if len(calls) == 0 {
		return fmt.Errorf("rpc: the batch is empty")
	}
	params := make([]RawMessage, len(calls))
	for i, call := range calls {
		call.Err = nil
		var err error
		if params[i], err = encodeParams(call.Method, call.Params); err != nil {
			call.Err = err
			return err
		}
	}
	waits := make([]*pending, len(calls))
	batch := new(clientBatch)
	frame := []byte{'['}
	for i, call := range calls {
		var id uint64
		if !call.Notification {
			waits[i] = &pending{reply: make(chan clientReply, 1)}
			var err error
			if id, err = c.enter(waits[i]); err != nil {
				return c.giveUpBatch(calls, batch, err)
			}
			batch.ids = append(batch.ids, id)
		}
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = appendRequest(frame, call.Method, params[i], id)
	}
	c.mu.Lock()
	if len(batch.ids) > 0 {
		c.batches = append(c.batches, batch)
	}
	c.mu.Unlock()
	if err := c.send(ctx, append(frame, ']', '\n')); err != nil {
		return c.giveUpBatch(calls, batch, err)
	}
	return c.awaitBatch(ctx, calls, waits, batch)
}

func (c *Client) awaitBatch(ctx context.Context, calls []*BatchCall, waits []*pending, batch *clientBatch) (first error) {
	next := 0
	for i, call := range calls {
		if call.Notification {
			continue
		}
		id := batch.ids[next]
		next++
		select {
		case r := <-waits[i].reply:
			call.Err = callFailure(call.Method, r.err)
			if call.Err == nil && call.Result != nil {
				if err := json.Unmarshal(r.result, call.Result); err != nil {
					call.Err = fmt.Errorf("rpc: the result of %s does not decode: %w", call.Method, err)
				}
			}
		case <-ctx.Done():
			c.cancel(id)
			call.Err = &CallError{call.Method, ExecutedUnknown, ctx.Err()}
		}
		if first == nil {
			first = call.Err
		}
	}
	return first
}

// giveUpBatch is the outcome of a batch that was not sent whole.
func (c *Client) giveUpBatch(calls []*BatchCall, batch *clientBatch, err error) error {
	for _, id := range batch.ids {
		c.leave(id)
	}
	c.mu.Lock()
	c.batches = slices.DeleteFunc(c.batches, func(b *clientBatch) bool { return b == batch })
	c.mu.Unlock()
	for _, call := range calls {
		call.Err = c.sendError(call.Method, err)
	}
	return calls[0].Err
}

// forgetBatchLocked forgets the batch that has an answered call.
func (c *Client) forgetBatchLocked(id uint64) {
	c.batches = slices.DeleteFunc(c.batches, func(b *clientBatch) bool { return slices.Contains(b.ids, id) })
}
