package methods

import (
	"context"

	"github.com/marianned/marianned/rpc"
)

// noParams is the schema of methods without parameters.
var noParams = rpc.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)

func ping() *rpc.Method {
	return &rpc.Method{
		Name:         Ping,
		Summary:      `Answers "pong": the connection works`,
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"const":"pong"}`),
		Control:      true,
		KeepsNothing: true,
		Handler: rpc.Typed(func(context.Context, rpc.NoParams) (string, error) {
			return "pong", nil
		}),
	}
}

// echo is an ordinary method, through admission like any other: for trying out,
// tests and benchmarks.
func echo() *rpc.Method {
	return &rpc.Method{
		Name:         echoName,
		Summary:      "Answers its params, whatever they are; null for none",
		ParamsSchema: rpc.RawMessage(`{"type":["object","array"]}`),
		ResultSchema: rpc.RawMessage(`{"type":["object","array","null"]}`),
		TakesArray:   true,
		KeepsNothing: true,
		Handler: rpc.RawFunc(func(_ context.Context, req *rpc.Request) (rpc.RawMessage, error) {
			return req.Params, nil
		}),
	}
}

// cancel describes what rpc.Server serves by itself. It is never registered.
var cancel = &rpc.Method{
	Name:         cancelName,
	Summary:      "Cancels a call of the same connection, which is then answered -32011",
	ParamNames:   []string{"id"},
	ParamsSchema: rpc.RawMessage(`{"type":"object","required":["id"],"properties":{"id":{"type":["string","number"],"description":"id of the call"}}}`),
	ResultSchema: rpc.RawMessage(`{"type":"object","required":["cancelled"],"properties":{"cancelled":{"type":"boolean","description":"whether the call was in flight"}}}`),
}
