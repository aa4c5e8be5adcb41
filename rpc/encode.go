package rpc

import (
	"bytes"
	"reflect"

	"github.com/go-json-experiment/json"
)

// encoded is a value of the application as JSON text.
type encoded struct {
	text RawMessage
	// buf is what a long text stands in; nil where it has other memory.
	buf *buffer
	// valid says that text is one line of JSON, and not too deep. Else that is for
	// the caller to check.
	valid bool
}

func marshal(v any) (encoded, error) {
	switch v := v.(type) {
	case nil:
		return encodedText(nil), nil
	case RawMessage:
		return encodedText(v), nil
	}
	direct := reflect.ValueOf(v)
	if e, ok := writeDirectly(directOf(direct.Type()), direct, new([]byte)); ok {
		return e, nil
	}
	text, err := json.Marshal(v)
	return encoded{text: text}, err
}

// encodedText is what the application has encoded itself, null for nothing.
func encodedText(raw RawMessage) encoded {
	if raw == nil {
		return encoded{text: RawMessage("null"), valid: true}
	}
	return encoded{text: raw}
}

// encode returns a value as one line of JSON.
func encode(v any) (RawMessage, error) {
	e, err := marshal(v)
	if err != nil {
		return nil, err
	}
	text := e.keep()
	if e.valid {
		return text, nil
	}
	return validJSON(text)
}

// keep returns the text in memory of its own.
func (e encoded) keep() RawMessage {
	if e.buf == nil {
		return e.text
	}
	defer e.buf.free()
	return bytes.Clone(e.text)
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

// oneLine returns valid JSON without newlines: there they can only be white
// space, and a frame must not hold one.
func oneLine(raw RawMessage) RawMessage {
	if bytes.IndexByte(raw, '\n') < 0 {
		return raw
	}
	return bytes.ReplaceAll(raw, []byte{'\n'}, []byte{' '})
}
