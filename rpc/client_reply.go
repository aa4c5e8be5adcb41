package rpc

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
)

// incoming is a message from a server: a reply, or an event of a stream.
type incoming struct {
	ID     RawMessage `json:"id"`
	Method string     `json:"method"`
	Params RawMessage `json:"params"`
	Result RawMessage `json:"result"`
	Error  *struct {
		Code    int        `json:"code"`
		Message string     `json:"message"`
		Data    RawMessage `json:"data"`
	} `json:"error"`
}

// takeIn hands a line to whom it is for. Its error ends the connection.
func (c *Client) takeIn(line []byte) error {
	i := skipSpace(line, 0)
	if i == len(line) {
		return nil
	}
	if line[i] != '[' {
		return c.takeInOne(line)
	}
	items, _, err := splitArray(line[i:], len(line))
	if err != nil {
		return fmt.Errorf("rpc: the server sent a message that is no JSON: %w", err)
	}
	for _, item := range items {
		if err := c.takeInOne(item); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) takeInOne(message []byte) error {
	var in incoming
	if err := json.Unmarshal(message, &in); err != nil {
		return fmt.Errorf("rpc: the server sent a message that is no reply: %w", err)
	}
	if in.Method != "" {
		c.takeInEvent(in)
		return nil
	}
	r := clientReply{result: in.Result}
	var failure *Error
	if in.Error != nil {
		failure = &Error{Code: in.Error.Code, Message: in.Error.Message}
		if in.Error.Data != nil {
			failure.Data = in.Error.Data
		}
		r = clientReply{err: failure}
	} else if in.Result == nil {
		return fmt.Errorf("rpc: the server sent a reply with neither result nor error: %.100s", message)
	}
	if in.ID == nil || string(in.ID) == "null" {
		if failure == nil {
			return fmt.Errorf("rpc: the server sent a result for no call: %.100s", message)
		}
		c.takeInNotice(failure)
		return nil
	}
	id, err := strconv.ParseUint(string(in.ID), 10, 64)
	if err != nil {
		return nil // the reply to a call of somebody else
	}
	c.mu.Lock()
	p := c.waiting[id]
	delete(c.waiting, id)
	c.forgetBatchLocked(id)
	c.mu.Unlock()
	if p != nil { // else it was given up
		p.end(r)
	}
	return nil
}

// takeInNotice takes in an error that names no call. It is why the connection
// ends, if it does, or the refusal of a whole batch.
func (c *Client) takeInNotice(e *Error) {
	c.mu.Lock()
	c.notice = e
	var refused []*pending
	if len(c.batches) > 0 {
		for _, id := range c.batches[0].ids {
			if p := c.waiting[id]; p != nil {
				refused = append(refused, p)
				delete(c.waiting, id)
			}
		}
		c.batches = c.batches[1:]
	}
	c.mu.Unlock()
	for _, p := range refused {
		p.end(clientReply{err: e})
	}
}
