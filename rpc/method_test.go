package rpc

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
)

// Calls that were read at once are looked up each: the one before may have replaced
// the methods.
func TestAMethodThatWasReplacedIsNotCalledAgain(t *testing.T) {
	which := func(answer string, then func()) *Methods {
		return testMethods(t, &Method{Name: "which", Handler: HandlerFunc(func(context.Context, *Request) (any, error) {
			then()
			return answer, nil
		})})
	}
	srv := new(Server)
	srv.SetMethods(which("first", func() {
		srv.SetMethods(which("second", func() { srv.SetMethods(testMethods(t)) }))
	}))
	w := dialWire(t, startServer(t, srv))
	w.send(strings.Repeat(`{"jsonrpc":"2.0","method":"which","id":1}`+"\n", 3))
	for _, want := range []string{`"first"`, `"second"`, `not found`} {
		require.Contains(t, w.line(), want)
	}
}

// Nobody holds methods that were replaced: not a connection that has called them.
func TestMethodsThatWereReplacedAreFreed(t *testing.T) {
	old := testMethods(t)
	gone := weak.Make(old.Lookup("echo"))
	srv := new(Server)
	srv.SetMethods(old)
	old = nil
	w := dialWire(t, startServer(t, srv))
	w.send(smallCall + "\n")
	w.line()
	srv.SetMethods(testMethods(t))
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone.Value() == nil
	}, patience, time.Millisecond)
}

// A RawFunc answers as a HandlerFunc that returns the same text.
func TestARawFuncAnswersWithItsText(t *testing.T) {
	type outcome struct {
		text RawMessage
		err  error
	}
	var next atomic.Pointer[outcome]
	answer := func(context.Context, *Request) (RawMessage, error) { return next.Load().text, next.Load().err }
	echoParams := RawFunc(func(_ context.Context, req *Request) (RawMessage, error) { return req.Params, nil })
	srv := &Server{
		Limits: Limits{MaxMessageBytes: 2048},
		Methods: testMethods(t,
			&Method{Name: "raw", Handler: RawFunc(answer)},
			&Method{Name: "any", Handler: HandlerFunc(func(ctx context.Context, req *Request) (any, error) { return answer(ctx, req) })},
			&Method{Name: "rawEcho", Handler: echoParams}),
	}
	w := dialWire(t, startServer(t, srv))
	call := func(method string) string {
		w.send(`{"jsonrpc":"2.0","method":"` + method + `"}` + "\n" + // has no answer
			`{"jsonrpc":"2.0","method":"` + method + `","id":1}` + "\n")
		return regexp.MustCompile(`"request_id":"[^"]*"`).ReplaceAllString(w.line(), `"request_id":"…"`)
	}
	for _, test := range []struct {
		outcome
		want string
	}{
		{outcome{nil, nil}, `"result":null}`},
		{outcome{RawMessage(`{"a":1}`), nil}, `"result":{"a":1}}`},
		{outcome{RawMessage(" [1,\n2]\n"), nil}, `"result": [1, 2] }`},
		{outcome{RawMessage(`{`), nil}, `"code":-32603`},
		{outcome{RawMessage(``), nil}, `"code":-32603`},
		{outcome{RawMessage("\"\xff\""), nil}, `"code":-32603`},
		{outcome{RawMessage(strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)), nil}, `"code":-32603`},
		{outcome{RawMessage(strings.Repeat("1", 2048)), nil}, `"code":-32012`},
		{outcome{RawMessage(`1`), Errorf(-5, "no")}, `"error":{"code":-5,"message":"no"}`},
		{outcome{RawMessage(`1`), errors.New("no")}, `"code":-32603`},
	} {
		next.Store(&test.outcome)
		reply := call("raw")
		require.Contains(t, reply, test.want)
		require.Equal(t, call("any"), reply)
	}
	require.Contains(t, call("rawEcho"), `"result":null}`)
	w.send(`{"jsonrpc":"2.0","method":"rawEcho","params":{"a":[1,"é"]},"id":1}` + "\n")
	require.Contains(t, w.line(), `"result":{"a":[1,"é"]}}`)

	result, err := Handler(echoParams).ServeRPC(t.Context(), &Request{Params: RawMessage(`[1]`)})
	require.NoError(t, err)
	require.Equal(t, RawMessage(`[1]`), result, "who wraps it sees any other handler")
}
