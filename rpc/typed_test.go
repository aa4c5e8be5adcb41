package rpc

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATypedCallSeesNothingOfTheOneBefore(t *testing.T) {
	type values struct {
		A int      `json:"a"`
		B []string `json:"b"`
	}
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t, &Method{Name: "typed", Handler: Typed(
		func(_ context.Context, p values) (values, error) {
			if p.A < 0 {
				return p, Errorf(-1, "negative")
			}
			return p, nil
		})})}))
	for _, call := range []struct{ params, answer string }{
		{`{"a":1,"b":["x","y"]}`, `"result":{"a":1,"b":["x","y"]}`},
		{`{}`, `"result":{"a":0,"b":[]}`},
		{`{"b":["z"],"a":"no number"}`, `invalid params`},
		{`{}`, `"result":{"a":0,"b":[]}`},
		{`{"b":["z"],"a":-1}`, `negative`},
		{`{}`, `"result":{"a":0,"b":[]}`},
	} {
		w.send(`{"jsonrpc":"2.0","method":"typed","params":` + call.params + `,"id":1}` + "\n")
		require.Contains(t, w.line(), call.answer)
	}
}

// Before a set is served a program may still put its own handler before another's.
func TestAHandlerThatReplacesATypedOneIsAsked(t *testing.T) {
	method := &Method{Name: "typed", Handler: Typed(typedEcho)}
	methods := testMethods(t, method)
	typed := method.Handler
	method.Handler = HandlerFunc(func(ctx context.Context, req *Request) (any, error) {
		if bytes.Contains(req.Params, []byte("secret")) {
			return nil, Errorf(-1, "not that")
		}
		return typed.ServeRPC(ctx, req)
	})
	w := dialWire(t, startServer(t, &Server{Methods: methods}))
	w.send(`{"jsonrpc":"2.0","method":"typed","params":{"b":"secret"},"id":1}` + "\n")
	require.Contains(t, w.line(), "not that")
	w.send(`{"jsonrpc":"2.0","method":"typed","params":{"b":"x"},"id":2}` + "\n")
	require.Contains(t, w.line(), `"result":{"a":0,"b":"x"}`)
}
