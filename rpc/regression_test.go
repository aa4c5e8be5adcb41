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
