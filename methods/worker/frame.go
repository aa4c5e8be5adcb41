package worker

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/marianned/marianned/rpc"
)

// requestFrame returns the line of a call, or of a notification if id is 0.
func requestFrame(id uint64, method string, params rpc.RawMessage) []byte {
	b := make([]byte, 0, 64+len(method)+len(params))
	b = append(b, `{"jsonrpc":"2.0",`...)
	if id != 0 {
		b = append(strconv.AppendUint(append(b, `"id":`...), id, 10), ',')
	}
	b = appendString(append(b, `"method":`...), method)
	if params != nil {
		b = append(append(b, `,"params":`...), params...)
	}
	return oneLine(append(b, '}'))
}

// oneLine ends a JSON text by the only newline that it has: others in it are
// white space.
func oneLine(b []byte) []byte {
	for i := range b {
		if b[i] == '\n' {
			b[i] = ' '
		}
	}
	return append(b, '\n')
}

func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // its error says that U+FFFD was used
	return b
}

// cancelFrame tells a worker that nobody waits for a call any more.
func (s *Settings) cancelFrame(id uint64) []byte {
	if s.MCP {
		params := strconv.AppendUint([]byte(`{"requestId":`), id, 10)
		return requestFrame(0, "notifications/cancelled", append(params, `,"reason":"the caller does not wait any more"}`...))
	}
	params := strconv.AppendUint([]byte(`{"id":`), id, 10)
	return requestFrame(0, "rpc.cancel", append(params, '}'))
}

// toolParams are those of tools/call. With a progress token the worker may
// report on the call before its end.
func toolParams(id uint64, tool string, arguments rpc.RawMessage, progress bool) rpc.RawMessage {
	b := appendString([]byte(`{"name":`), tool)
	b = append(append(b, `,"arguments":`...), bytes.TrimSpace(arguments)...)
	if progress {
		b = append(strconv.AppendUint(append(b, `,"_meta":{"progressToken":`...), id, 10), '}')
	}
	return append(b, '}')
}

// answerFrame answers a request of a worker's: it may ask whether anybody is
// there, and nothing else.
func answerFrame(m message) []byte {
	b := append([]byte(`{"jsonrpc":"2.0","id":`), m.id...)
	if m.method == "ping" {
		return oneLine(append(b, `,"result":{}}`...))
	}
	return oneLine(append(b, `,"error":{"code":-32601,"message":"this client answers no requests but ping"}}`...))
}
