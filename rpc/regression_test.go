package rpc

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// onSimNet runs f in fake time with a server on a simulated network.
func onSimNet(t *testing.T, limits Limits, f func(t *testing.T, srv *Server, n *simNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := &Server{Methods: newExecutions().methods(1, true), Limits: limits}
		n := newSimNet(64 << 10)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(n) }()
		f(t, srv, n)
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, ErrServerClosed)
	})
}

// takeAll returns what the server has sent once it has nothing more to do.
func (e *simEnd) takeAll() string {
	synctest.Wait()
	return string(e.take(1 << 20))
}

const simPing = `{"jsonrpc":"2.0","method":"control","params":{"token":"t"},"id":1}` + "\n"

// The deadline that passes while a frame is incomplete may be that of the idle
// connection, which was set before: the reader must set the frame's then.
func TestAFrameMayBeginShortlyBeforeTheIdleTimeout(t *testing.T) {
	limits := Limits{IdleTimeout: 100 * time.Millisecond, FrameTimeout: time.Second}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		c := n.dial(1000, 1)
		time.Sleep(90 * time.Millisecond)
		c.put([]byte(simPing[:10]))
		time.Sleep(500 * time.Millisecond)
		c.put([]byte(simPing[10:]))
		require.Contains(t, c.takeAll(), `"result":"t"`)
		c.put([]byte(simPing[:10]))
		time.Sleep(1001 * time.Millisecond)
		require.Contains(t, c.takeAll(), ReasonFrameTimeout)
	})
}

// While the server reads no further, because too many calls of the connection
// are in flight, the part of a frame that it has read can not become whole.
func TestAFrameThatTheServerDoesNotReadOnIsNotTooSlow(t *testing.T) {
	limits := Limits{MaxInFlightPerConnection: 1, FrameTimeout: 100 * time.Millisecond}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		c := n.dial(1000, 1)
		c.put([]byte(`{"jsonrpc":"2.0","method":"work","params":{"token":"slow","ms":1000},"id":7}` + "\n" + simPing[:10]))
		time.Sleep(50 * time.Millisecond)
		c.put([]byte(simPing[10:]))
		time.Sleep(2 * time.Second)
		got := c.takeAll()
		require.Contains(t, got, `"result":"slow"`)
		require.Contains(t, got, `"result":"t"`)
	})
}
