package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
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

// What a short result is written to serves one call after the other, also of several
// connections.
func TestATypedResultIsNotThatOfAnotherCall(t *testing.T) {
	type list struct {
		C []int `json:"c"`
	}
	release := make(chan struct{})
	methods := testMethods(t,
		&Method{Name: "values", Handler: Typed(func(_ context.Context, p typedParams) (typedParams, error) {
			if p.A < 0 {
				panic("negative")
			}
			return p, nil
		})},
		&Method{Name: "list", MaxConcurrent: 2, Handler: Typed(func(_ context.Context, p list) (list, error) { return p, nil })},
		&Method{Name: "held", Handler: Typed(func(_ context.Context, p typedParams) (typedParams, error) {
			<-release
			return p, nil
		})})
	path := startServer(t, &Server{Methods: methods})
	var clients, held sync.WaitGroup
	for client := range 4 {
		w := dialWire(t, path)
		calls := newTypedCalls(client)
		held.Add(1)
		others := sync.OnceFunc(held.Done)
		clients.Go(func() {
			defer others()
			w.send(calls.input.String())
			for len(calls.want) > 0 && calls.take(t, w.line()) {
				if len(calls.want) == 1 { // the one that is held
					others()
				}
			}
		})
	}
	held.Wait()
	close(release)
	clients.Wait()
}

// typedCalls are what one client sends and what it is to be answered.
type typedCalls struct {
	input strings.Builder
	want  map[string]string // by id
}

func newTypedCalls(client int) *typedCalls {
	c := &typedCalls{want: map[string]string{}}
	call := func(id int, method, params string) string {
		c.want[fmt.Sprint(id)] = params
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"%s","params":%s,"id":%d}`, method, params, id)
	}
	numbered := func(id int) string {
		return call(id, "values", fmt.Sprintf(`{"a":%d,"b":"%s"}`, id, strings.Repeat(fmt.Sprint(client), id)))
	}
	line := func(text string) { c.input.WriteString(text + "\n") }
	for id := 100; id < 200; id++ {
		line(numbered(id))
		line(call(1000+id, "list", fmt.Sprintf(`{"c":[%d,%d]}`, id, client)))
		if id%10 == 0 {
			line(call(2000+id, "values", `{"a":-1}`))
			c.want[fmt.Sprint(2000+id)] = "internal error"
			line(`{"jsonrpc":"2.0","method":"values","params":{"a":7,"b":"unasked"}}`)
		}
		if id == 150 {
			line(call(1, "held", fmt.Sprintf(`{"a":%d,"b":"held"}`, client)))
		}
	}
	line("[" + numbered(200) + "," + call(201, "list", `{"c":[201]}`) + "," + numbered(202) + "]")
	line(numbered(203))
	return c
}

// take notes the replies of a line, and reports whether they are what is wanted.
func (c *typedCalls) take(t *testing.T, line string) bool {
	var replies []struct {
		ID     json.Number
		Result json.RawMessage
		Error  json.RawMessage
	}
	if !strings.HasPrefix(line, "[") {
		line = "[" + line + "]"
	}
	if !assert.NoError(t, json.Unmarshal([]byte(line), &replies), line) {
		return false
	}
	for _, reply := range replies {
		want, asked := c.want[reply.ID.String()]
		if !assert.True(t, asked, "not asked for, or answered twice: %s", line) ||
			!assert.Contains(t, string(reply.Result)+string(reply.Error), want) {
			return false
		}
		delete(c.want, reply.ID.String())
	}
	return true
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
}

// A call that is no typed one, and may take long, has nothing of the call before.
func TestAStreamKeepsNoValues(t *testing.T) {
	values := make(chan freer, 1)
	methods := testMethods(t, &Method{Name: "typed", Handler: Typed(typedEcho)}, &Method{Name: "stream",
		Stream: func(ctx context.Context, _ *Request, stream *Stream) (any, error) {
			values <- stream.call.values
			return nil, nil
		}})
	w := dialWire(t, startServer(t, &Server{Methods: methods}))
	w.send(`{"jsonrpc":"2.0","method":"typed","params":{"a":1},"id":1}` + "\n" + `{"jsonrpc":"2.0","method":"stream","id":2}` + "\n")
	require.Nil(t, <-values)
	w.line()
	w.line()
}
