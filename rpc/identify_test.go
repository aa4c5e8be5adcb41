package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestMoreCanBeSaidAboutAPeerThanTheKernelDoes(t *testing.T) {
	who := HandlerFunc(func(ctx context.Context, req *Request) (any, error) {
		return []any{req.Peer.Socket, req.Peer.Unit, req.Peer.PID > 0}, nil
	})
	w := dialWire(t, startServer(t, &Server{
		Methods: testMethods(t, &Method{Name: "who", Handler: who}),
		Identify: func(l net.Listener, nc net.Conn, peer *Peer) error {
			_, unix := nc.(*net.UnixConn)
			require.True(t, unix)
			peer.Socket, peer.Unit = l.Addr().Network(), "backup.service"
			return nil
		},
	}))
	w.send(`{"jsonrpc":"2.0","method":"who","id":1}` + "\n")
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":["unix","backup.service",true]}`, w.line())
}

func TestAPeerOfWhomTooLittleIsKnownIsNotServed(t *testing.T) {
	w := dialWire(t, startServer(t, &Server{
		Methods:  testMethods(t),
		Identify: func(net.Listener, net.Conn, *Peer) error { return errors.New("no idea") },
	}))
	_, err := w.lines.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

// TestARefusedConnectionIsNotIdentified: to find out more takes system calls, and a
// client that is refused can come again at once.
func TestARefusedConnectionIsNotIdentified(t *testing.T) {
	gatesInBubble(t, Limits{MaxConnectionsPerUID: 1}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		identified := 0
		srv.Identify = func(net.Listener, net.Conn, *Peer) error { // before anybody has connected
			identified++
			return nil
		}
		l.dial(7)
		for range 3 {
			require.Contains(t, newPipeClient(t, l.dial(7)).line(), ReasonMaxConnectionsPerID)
		}
		synctest.Wait()
		require.Equal(t, 1, identified)
		require.EqualValues(t, 3, srv.Stats().Refusals[ReasonMaxConnectionsPerID])
	})
}
