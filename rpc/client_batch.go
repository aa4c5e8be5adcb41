package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
type clientBatch struct {
	ids   []uint64
	items int // notifications included
}

// Batch sends calls in one message (JSON-RPC 2.0, section 6) and waits for all
// replies. Each call's Err says what became of it; Batch itself returns the
// first of them, or the error of params that do not encode, for which nothing
// is sent. The order in which a server executes them is not promised.
func (c *Client) Batch(ctx context.Context, calls []*BatchCall) error {
	if len(calls) == 0 {
		return fmt.Errorf("rpc: the batch is empty")
	}
	params := make([]RawMessage, len(calls))
	for i, call := range calls {
		call.Err = nil
		var err error
		if params[i], err = encodeParams(call.Method, call.Params, inBatch); err != nil {
			for _, other := range calls {
				other.Err = &CallError{other.Method, ExecutedNo, fmt.Errorf("rpc: the batch was not sent: %w", err)}
			}
			call.Err = err
			return err
		}
	}
	waits := make([]*pending, len(calls))
	batch := &clientBatch{items: len(calls)}
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
	frame = append(frame, ']', '\n')
	c.mu.Lock()
	if len(batch.ids) > 0 && c.err == nil {
		c.batches = append(c.batches, batch)
	}
	for _, p := range waits {
		if p != nil {
			p.size = len(frame) - 1
		}
	}
	c.mu.Unlock()
	if err := c.send(ctx, frame); err != nil {
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
		var result RawMessage
		result, call.Err = c.await(ctx, batch.ids[next], waits[i], call.Method)
		next++
		if call.Err == nil && call.Result != nil {
			call.Err = decodeResult(call.Method, result, call.Result)
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
		call.Err = sendError(call.Method, err)
	}
	return calls[0].Err
}

// forgetBatchLocked forgets the batch that has an answered call.
func (c *Client) forgetBatchLocked(id uint64) {
	c.batches = slices.DeleteFunc(c.batches, func(b *clientBatch) bool { return slices.Contains(b.ids, id) })
}

// takeInBatch takes in the answer to a batch. It is whole (JSON-RPC 2.0, section
// 6): a call that it leaves out will not be answered.
func (c *Client) takeInBatch(messages []incoming) error {
	var answered []*clientBatch
	missing := clientReply{err: errors.New("rpc: the server's answer to the batch leaves it out"), executed: ExecutedUnknown}
	var nobody *Error
	for _, in := range messages {
		if in.id == nil && in.method == "" && in.failed != nil {
			nobody, missing.err = in.failed, in.failed
			continue
		}
		if b := c.batchOf(in.id); b != nil {
			answered = append(answered, b)
		}
		if err := c.takeInOne(in); err != nil {
			return err
		}
	}
	if len(answered) == 0 && nobody != nil {
		c.takeInNotice(nobody)
		return nil
	}
	c.mu.Lock()
	left := c.forgetBatchesLocked(answered)
	c.mu.Unlock()
	for _, p := range left {
		p.end(missing)
	}
	return nil
}

func (c *Client) batchOf(id RawMessage) *clientBatch {
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.batches {
		if slices.Contains(b.ids, n) {
			return b
		}
	}
	return nil
}

// refusedBatchesLocked returns the batches that an error which names no call
// ends, and whether their calls were executed: "" where the error says it.
// Where it can be about one of several, all of them end, since their answers
// can no longer be told apart, and nothing is claimed of any.
func (c *Client) refusedBatchesLocked(e *Error) ([]*clientBatch, Executed) {
	data := errorData(e)
	candidates := slices.Clone(c.batches)
	switch {
	case e.Code == CodeResourceExhausted, e.Code == CodeShuttingDown, endsReading(e):
		return nil, "" // about the connection
	case data.Reason == ReasonMaxBatch:
		candidates = slices.DeleteFunc(candidates, func(b *clientBatch) bool { return int64(b.items) <= data.Limit })
		return candidates[:min(len(candidates), 1)], "" // the others get an error each
	case len(candidates) > 1:
		return candidates, ExecutedUnknown
	}
	return candidates, ""
}

// forgetBatchesLocked forgets batches, and returns the calls of them that wait.
func (c *Client) forgetBatchesLocked(batches []*clientBatch) (calls []*pending) {
	for _, b := range batches {
		for _, id := range b.ids {
			if p := c.waiting[id]; p != nil {
				calls = append(calls, p)
				delete(c.waiting, id)
			}
		}
	}
	c.batches = slices.DeleteFunc(c.batches, func(b *clientBatch) bool { return slices.Contains(batches, b) })
	return calls
}
