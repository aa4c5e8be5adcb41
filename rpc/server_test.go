package rpc

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"context"

	"github.com/stretchr/testify/require"
)

func TestACallIsAnswered(t *testing.T) {
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t)}))
	w.send(`{"jsonrpc":"2.0","method":"echo","params":{"a":1},"id":1}` + "\n")
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":{"a":1}}`, w.line())
}

func TestPipelinedCallsAreAllAnswered(t *testing.T) {
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t)}))
	const n = 5000
	go func() {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `{"jsonrpc":"2.0","method":"echo","params":[%d],"id":%d}`+"\n", i, i)
		}
		_, _ = w.Write([]byte(b.String()))
	}()
	missing := make(map[string]bool, n) // no order is promised
	for i := range n {
		missing[fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":[%d]}`, i, i)] = true
	}
	for range n {
		line := w.line()
		require.True(t, missing[line], line)
		delete(missing, line)
	}
}

func TestASlowCallDoesNotStopTheReading(t *testing.T) {
	g := newGate()
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t, &Method{Name: "gate", Handler: g})}))
	w.send(`{"jsonrpc":"2.0","method":"gate","id":1}` + "\n" + `{"jsonrpc":"2.0","method":"echo","params":{"a":1},"id":2}` + "\n")
	require.Equal(t, `{"jsonrpc":"2.0","id":2,"result":{"a":1}}`, w.line())
	w.send(`{"jsonrpc":"2.0","method":"echo","id":3}` + "\n")
	require.Equal(t, `{"jsonrpc":"2.0","id":3,"result":null}`, w.line())
	close(g.open)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"through"}`, w.line())
}

func TestLargeMessagesGoThroughWhole(t *testing.T) {
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t)}))
	for _, size := range []int{1 << 10, 16 << 10, 63 << 10, 65 << 10, 300 << 10, 1 << 20, 15 << 20} {
		params := `["` + strings.Repeat("x", size) + `"]`
		go w.send(`{"jsonrpc":"2.0","method":"echo","params":` + params + `,"id":7}` + "\n" + `{"jsonrpc":"2.0","method":"echo","id":8}` + "\n")
		large, small := w.line(), w.line()
		if len(large) < len(small) { // no order is promised
			large, small = small, large
		}
		require.Equal(t, `{"jsonrpc":"2.0","id":7,"result":`+params+`}`, large)
		require.Equal(t, `{"jsonrpc":"2.0","id":8,"result":null}`, small)
	}
}

func TestAPanicIsContained(t *testing.T) {
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t)}))
	w.send(`{"jsonrpc":"2.0","method":"panic","id":1}` + "\n")
	r := w.reply()
	require.Equal(t, CodeInternalError, r.Error.Code)
	require.NotContains(t, r.Error.Message, "secret")
	w.send(`{"jsonrpc":"2.0","method":"echo","id":2}` + "\n")
	require.Equal(t, `{"jsonrpc":"2.0","id":2,"result":null}`, w.line())
}

func TestAPanicOfAuthorizeIsContained(t *testing.T) {
	authorize := func(*Peer, *Method) error { panic("secret") }
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t), Authorize: authorize}))
	for range 2 {
		w.send(`{"jsonrpc":"2.0","method":"echo","id":1}` + "\n")
		r := w.reply()
		require.Equal(t, CodeInternalError, r.Error.Code)
		require.NotContains(t, r.Error.Message, "secret")
		require.Equal(t, "no", r.Error.Data["executed"])
	}
}

func TestAHandlerThatEndsItsGoroutineIsAnswered(t *testing.T) {
	exit := HandlerFunc(func(context.Context, *Request) (any, error) { runtime.Goexit(); return nil, nil })
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t, &Method{Name: "exit", Handler: exit})}))
	w.send(`{"jsonrpc":"2.0","method":"exit","id":1}` + "\n")
	require.Equal(t, CodeInternalError, w.reply().Error.Code)
	w.send(`{"jsonrpc":"2.0","method":"echo","id":2}` + "\n")
	require.Equal(t, `{"jsonrpc":"2.0","id":2,"result":null}`, w.line())
}

func TestAHalfClosedConnectionIsStillAnswered(t *testing.T) {
	g := newGate()
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t, &Method{Name: "gate", Handler: g})}))
	w.send(`{"jsonrpc":"2.0","method":"gate","id":1}` + "\n")
	require.NoError(t, w.CloseWrite())
	<-g.entered
	close(g.open)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"through"}`, w.line())
	w.eof()
}

func TestShutdownLetsARunningCallEnd(t *testing.T) {
	g := newGate()
	srv := &Server{Methods: testMethods(t, &Method{Name: "gate", Handler: g})}
	w := dialWire(t, startServer(t, srv))
	w.send(`{"jsonrpc":"2.0","method":"gate","id":1}` + "\n")
	<-g.entered
	ended := make(chan error)
	go func() { ended <- srv.Shutdown(context.Background()) }()
	for !srv.Stats().Draining {
		runtime.Gosched()
	}
	w.send(`{"jsonrpc":"2.0","method":"echo","id":2}` + "\n")
	r := w.reply()
	require.Equal(t, CodeShuttingDown, r.Error.Code)
	require.Equal(t, "no", r.Error.Data["executed"])
	close(g.open)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"through"}`, w.line())
	w.eof()
	require.NoError(t, <-ended)
}
