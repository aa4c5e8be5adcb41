package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// lenient reads what a server passes on from others. A name that stands twice
// deep inside a result, or half a surrogate pair, is for the result's own
// reader to judge: it must not end the connection that other calls share.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// incoming is a message from a server: a reply, or an event of a stream.
type incoming struct {
	id     RawMessage // nil for none
	method string
	params RawMessage
	result RawMessage
	failed *Error
}

// takeIn hands a line to whom it is for. Its error ends the connection.
func (c *Client) takeIn(line []byte) error {
	if skipSpace(line, 0) == len(line) {
		return nil
	}
	messages, array, err := readIncoming(line)
	switch {
	case err != nil:
		return fmt.Errorf("rpc: the server sent a message that is no reply: %w", err)
	case array:
		return c.takeInBatch(messages)
	}
	return c.takeInOne(messages[0])
}

// readIncoming reads the message, or the array of them, that line holds.
func readIncoming(line []byte) (messages []incoming, array bool, err error) {
	if !utf8.Valid(line) {
		return nil, false, errors.New("invalid UTF-8")
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(line), lenient)
	if array = dec.PeekKind() == '['; array {
		if _, err := dec.ReadToken(); err != nil {
			return nil, true, err
		}
	}
	for !array || dec.PeekKind() != ']' {
		in, err := readMessage(dec)
		if err != nil {
			return nil, array, err
		}
		messages = append(messages, in)
		if !array {
			break
		}
	}
	if array {
		if _, err := dec.ReadToken(); err != nil {
			return nil, true, err
		}
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, array, errors.New("unexpected text behind the value")
	}
	return messages, array, nil
}

// readMessage reads one object. Members that decide what it means may stand in
// it once; null is as good as absent, but for a result.
func readMessage(dec *jsontext.Decoder) (in incoming, err error) {
	if kind := dec.PeekKind(); kind != '{' && kind != 0 {
		return in, fmt.Errorf("expected an object, found a %v", kind)
	}
	if _, err := dec.ReadToken(); err != nil {
		return in, err
	}
	seen := make(map[string]bool, 4)
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return in, err
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return in, err
		}
		if err := in.member(name, value, seen); err != nil {
			return in, err
		}
	}
	_, err = dec.ReadToken()
	return in, err
}

// member takes in one member; value does not outlive the call.
func (in *incoming) member(name string, value jsontext.Value, seen map[string]bool) error {
	switch name {
	case "id", "method", "params", "result", "error":
	default:
		return nil
	}
	if seen[name] {
		return fmt.Errorf("%q stands in it twice", name)
	}
	seen[name] = true
	if value.Kind() == 'n' && name != "result" {
		return nil
	}
	switch name {
	case "id":
		in.id = RawMessage(value.Clone())
	case "method":
		if err := json.Unmarshal(value, &in.method, lenient); err != nil {
			return err
		}
	case "params":
		in.params = RawMessage(value.Clone())
	case "result":
		in.result = RawMessage(value.Clone())
	case "error":
		var e struct {
			Code    int        `json:"code"`
			Message string     `json:"message"`
			Data    RawMessage `json:"data"`
		}
		if err := json.Unmarshal(value, &e, lenient); err != nil {
			return err
		}
		in.failed = &Error{Code: e.Code, Message: e.Message}
		if e.Data != nil {
			in.failed.Data = e.Data
		}
	}
	return nil
}

func (c *Client) takeInOne(in incoming) error {
	switch {
	case in.method != "":
		c.takeInEvent(in)
		return nil
	case in.failed == nil && in.result == nil:
		return fmt.Errorf("rpc: the server sent a reply with neither result nor error, id %s", excerpt(in.id))
	case in.id == nil && in.failed == nil:
		return fmt.Errorf("rpc: the server sent a result for no call: %s", excerpt(in.result))
	case in.id == nil:
		c.takeInNotice(in.failed)
		return nil
	}
	id, err := strconv.ParseUint(string(in.id), 10, 64)
	if err != nil {
		return nil // the reply to a call of somebody else
	}
	r := clientReply{result: in.result}
	if in.failed != nil {
		r = clientReply{err: in.failed}
	}
	c.mu.Lock()
	c.served = true
	if id > c.before && !c.isDeaf() {
		c.notice = nil // the connection has gone on after it
	}
	p := c.waiting[id]
	delete(c.waiting, id)
	c.forgetBatchLocked(id)
	c.mu.Unlock()
	if p != nil { // else it was given up
		p.end(r)
	}
	return nil
}

// takeInNotice takes in an error that names no call: the refusal of a whole
// batch, or why the connection is about to end. A server that refuses a message
// for its size, or its slowness, reads no more but answers what it has read. A
// write to it must be stopped: shutdown(2) of a socket for reading does not wake
// a peer that polls for room.
func (c *Client) takeInNotice(e *Error) {
	c.mu.Lock()
	refused, executed := c.refusedBatchesLocked(e)
	if len(refused) == 0 && !c.isDeaf() {
		c.notice, c.before = e, c.lastID
		if endsReading(e) {
			close(c.deaf)
			defer c.stopWriting()
		}
	}
	ended := c.forgetBatchesLocked(refused)
	c.mu.Unlock()
	for _, p := range ended {
		p.end(clientReply{err: e, executed: executed})
	}
}

// endsReading reports whether the server reads no more after it has sent e for
// no call.
func endsReading(e *Error) bool {
	reason := errorData(e).Reason
	return reason == ReasonMessageTooLarge || reason == ReasonFrameTimeout
}
