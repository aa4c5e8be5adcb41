package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
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

// What a short result is written to serves one call after the other.
func TestATypedResultIsNotThatOfAnotherCall(t *testing.T) {
	type values struct {
		A int    `json:"a"`
		B string `json:"b"`
	}
	type list struct {
		C []int `json:"c"`
	}
	release := make(chan struct{})
	methods := testMethods(t,
		&Method{Name: "values", Handler: Typed(func(_ context.Context, p values) (values, error) {
			if p.A < 0 {
				panic("negative")
			}
			return p, nil
		})},
		&Method{Name: "list", Handler: Typed(func(_ context.Context, p list) (list, error) { return p, nil })},
		&Method{Name: "held", Handler: Typed(func(_ context.Context, p values) (values, error) {
			<-release
			return p, nil
		})})
	w := dialWire(t, startServer(t, &Server{Methods: methods}))

	want := map[string]string{}
	call := func(id int, method, params string) string {
		want[fmt.Sprint(id)] = params
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"%s","params":%s,"id":%d}`, method, params, id)
	}
	numbered := func(id int) string {
		return call(id, "values", fmt.Sprintf(`{"a":%d,"b":"%s"}`, id, strings.Repeat("x", id)))
	}
	var input strings.Builder
	for id := 100; id < 200; id++ {
		input.WriteString(numbered(id) + "\n")
		if id%10 == 0 {
			input.WriteString(call(1000+id, "list", fmt.Sprintf(`{"c":[%d,-1]}`, id)) + "\n")
			input.WriteString(call(2000+id, "values", fmt.Sprintf(`{"a":-1,"b":"%d"}`, id)) + "\n")
			want[fmt.Sprint(2000+id)] = "internal error"
			input.WriteString(`{"jsonrpc":"2.0","method":"values","params":{"a":7,"b":"unasked"}}` + "\n")
		}
		if id == 150 {
			input.WriteString(call(1, "held", `{"a":1,"b":"held"}`) + "\n")
		}
	}
	input.WriteString("[" + numbered(200) + "," + call(201, "list", `{"c":[201]}`) + "," + numbered(202) + "]\n")
	for id := 203; id < 210; id++ {
		input.WriteString(numbered(id) + "\n")
	}
	w.send(input.String())

	for len(want) > 0 {
		if len(want) == 1 {
			close(release)
		}
		line := w.line()
		var replies []struct {
			ID     json.Number
			Result json.RawMessage
			Error  json.RawMessage
		}
		if !strings.HasPrefix(line, "[") {
			line = "[" + line + "]"
		}
		require.NoError(t, json.Unmarshal([]byte(line), &replies), line)
		for _, reply := range replies {
			expected, asked := want[reply.ID.String()]
			require.True(t, asked, "an id that was not asked for, or twice: %s", line)
			require.Contains(t, string(reply.Result)+string(reply.Error), expected)
			delete(want, reply.ID.String())
		}
	}
}

// The text of a result is its call's until the reply has been copied from it.
func TestATypedResultStandsUntilItIsFreed(t *testing.T) {
	handler := Typed(func(_ context.Context, n int) (int, error) { return n, nil }).(typed)
	c := &conn{srv: &Server{adm: newAdmission(Limits{})}}
	run := func(cl *call, params string) RawMessage {
		t.Helper()
		cl.callContext = &callContext{conn: c, req: Request{Params: RawMessage(params)}}
		raw, err := handler.run(cl)
		require.NoError(t, err)
		return raw
	}
	first, second := new(call), new(call)
	one, two := run(first, "1"), run(second, "2")
	require.Equal(t, "1 2", string(one)+" "+string(two))
	require.Equal(t, "3", string(run(first, "3")))
	require.Equal(t, "3 2", string(one)+" "+string(two), "a call writes where its own last result was")
	first.freeValues()
	require.Nil(t, first.values)
}
