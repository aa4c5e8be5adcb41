package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/marianned/marianned/rpc"
)

// lenient reads what a worker passes on from others: what stands inside a result
// is for its reader to judge.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// message is what a worker says: a reply, a notification or a request.
type message struct {
	id     jsontext.Value // nil for none, and for null
	method string
	params jsontext.Value
	result jsontext.Value
	failed *rpc.Error
}

var errNoMessage = errors.New("expected a JSON-RPC message: an object, or an array of them")

// readMessages reads the one line of a message, or of an array of them.
func readMessages(line []byte) ([]message, error) {
	d := jsontext.NewDecoder(bytes.NewReader(line), lenient)
	switch d.PeekKind() {
	case '{':
		m, err := readMessage(d)
		if err == nil {
			err = atEnd(d)
		}
		return []message{m}, err
	case '[':
	default:
		return nil, errNoMessage
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var messages []message
	for d.PeekKind() == '{' {
		m, err := readMessage(d)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	if token, err := d.ReadToken(); err != nil || token.Kind() != ']' {
		return nil, errNoMessage
	}
	return messages, atEnd(d)
}

func atEnd(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != io.EOF {
		return errors.New("more than one value on a line")
	}
	return nil
}

// readMessage reads one object. Of what it returns beside an error the id is
// right, if it is there.
func readMessage(d *jsontext.Decoder) (m message, err error) {
	if _, err := d.ReadToken(); err != nil {
		return m, err
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return m, err
		}
		name := token.String() // the token is gone with the next one
		value, err := d.ReadValue()
		if err != nil {
			return m, err
		}
		if err := m.member(name, value.Clone()); err != nil {
			return m, err
		}
	}
	_, err = d.ReadToken()
	return m, err
}

func (m *message) member(name string, value jsontext.Value) error {
	if value.Kind() == 'n' && name != "result" {
		return nil
	}
	switch name {
	case "id":
		m.id = value
	case "method":
		return json.Unmarshal(value, &m.method, lenient)
	case "params":
		m.params = value
	case "result":
		m.result = value
	case "error":
		var e struct {
			Code    int            `json:"code"`
			Message string         `json:"message"`
			Data    rpc.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(value, &e, lenient); err != nil {
			return fmt.Errorf("the error of a reply: %w", err)
		}
		m.failed = &rpc.Error{Code: e.Code, Message: e.Message}
		if e.Data != nil {
			m.failed.Data = e.Data
		}
	}
	return nil
}

// call returns the number of the call that a reply is for, 0 for none of ours.
func (m *message) call() uint64 { return number(m.id) }

func number(id []byte) uint64 {
	n, err := strconv.ParseUint(string(bytes.Trim(id, `"`)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// callOf returns the number of the call that a line is for which is no message:
// it was cut off, or is no JSON. 0 where the line does not tell.
func callOf(line []byte) uint64 {
	d := jsontext.NewDecoder(bytes.NewReader(line), lenient)
	if d.PeekKind() != '{' {
		return 0
	}
	m, _ := readMessage(d)
	return m.call()
}

// subscription returns the number of the call that a notification says it
// belongs to, 0 if it does not.
func (m *message) subscription() uint64 {
	var p struct {
		Subscription jsontext.Value `json:"subscription"`
		Progress     jsontext.Value `json:"progressToken"` // of the Model Context Protocol
	}
	if m.params.Kind() != '{' || json.Unmarshal(m.params, &p, lenient) != nil {
		return 0
	}
	if p.Subscription == nil {
		p.Subscription = p.Progress
	}
	return number(p.Subscription)
}
