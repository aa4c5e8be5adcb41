package servers

import (
	"encoding/binary"
	"fmt"

	"github.com/marianned/marianned/tests/bench/workload"
)

// Dialect is how a server wants its calls.
type Dialect int

const (
	// JSONRPC is newline-delimited JSON-RPC 2.0, params an object.
	JSONRPC Dialect = iota
	// Positional is JSON-RPC 2.0 with that object as the only item of an array.
	Positional
	// JSONRPC1 is JSON-RPC 1.0, as net/rpc/jsonrpc has it.
	JSONRPC1
	// HTTP is HTTP/1.1: the body of a request is the params, that of its
	// response the result.
	HTTP
	// GRPC is gRPC: a google.protobuf.StringValue each way.
	GRPC
)

// GRPCMethod is the path of the echo method of GRPC.
const GRPCMethod = "/bench.Bench/Echo"

// Call is the call of one slot, as the dialect has it. For GRPC it is the
// message with its prefix, without the frames of HTTP/2.
func (d Dialect) Call(w *workload.Workload, slot int) []byte {
	id, params := w.ID(slot), w.Params(slot)
	switch d {
	case Positional:
		return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"bench_echo","params":[%s]}`+"\n", id, params)
	case JSONRPC1:
		return fmt.Appendf(nil, `{"method":"Bench.Echo","params":[%s],"id":%d}`+"\n", params, id)
	case HTTP:
		return fmt.Appendf(nil, "POST /echo HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(params), params)
	case GRPC:
		return grpcMessage(params)
	default:
		return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"echo","params":%s}`+"\n", id, params)
	}
}

// Reply is the reply that is expected first: for HTTP the body, for GRPC as Call
// has it. A server of JSON-RPC may order and spell it otherwise.
func (d Dialect) Reply(w *workload.Workload, slot int) []byte {
	switch d {
	case HTTP:
		return w.Params(slot)
	case GRPC:
		return grpcMessage(w.Params(slot))
	default:
		return w.Reply(slot)
	}
}

// grpcMessage is text as a StringValue (its field 1), after gRPC's prefix: not
// compressed, and the length.
func grpcMessage(text []byte) []byte {
	const stringField1 = 1<<3 | 2
	value := binary.AppendUvarint([]byte{stringField1}, uint64(len(text)))
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(value)+len(text)))
	return append(append(message, value...), text...)
}
