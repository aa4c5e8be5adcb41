package rpc

import (
	"errors"
	"fmt"
)

// How many objects and arrays stand around the params of a request.
const (
	inCall  = 1
	inBatch = 2
)

// encodeParams returns params as one line of JSON that a request can hold
// (JSON-RPC 2.0, section 4.2); nil for none. Others are refused here: a
// notification with them would be answered by an error that names nothing.
func encodeParams(method string, params any, depth int) (RawMessage, error) {
	raw, err := marshalParams(params)
	if raw == nil && err == nil {
		return nil, nil
	}
	if err == nil {
		err = checkParams(raw, depth)
	}
	if err != nil {
		return nil, fmt.Errorf("rpc: the params of %s do not encode: %w", method, err)
	}
	return oneLine(raw), nil
}

func marshalParams(params any) (RawMessage, error) {
	switch v := params.(type) {
	case nil:
		return nil, nil
	case RawMessage:
		return v, nil
	case []byte:
		return v, nil
	}
	e, err := marshal(params)
	return e.keep(), err
}

func checkParams(raw RawMessage, depth int) error {
	end, serr := skipValue(raw, 0, depth)
	if serr == nil {
		serr = trailing(raw, end)
	}
	if serr != nil {
		return serr
	}
	switch raw[skipSpace(raw, 0)] {
	case '{', '[', 'n':
		return nil
	}
	return errors.New("expected an object or an array, found " + excerpt(raw))
}
