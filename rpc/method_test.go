package rpc

import (
	"context"
	"runtime"
	"strings"
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
