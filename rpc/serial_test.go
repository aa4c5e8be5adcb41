package rpc

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// onlyConn returns the only connection of srv.
func onlyConn(t testing.TB, srv *Server) *conn {
	t.Helper()
	conns := srv.snapshot()
	require.Len(t, conns, 1)
	return conns[0]
}

// forgetful is a server with the method "more", during whose call the client sends the
// notification "note". The runtime has forgotten that when the reader waits.
type forgetful struct {
	*Server
	client atomic.Pointer[wireConn]
	notes  chan struct{}
}

func newForgetful(t *testing.T) *forgetful {
	f := &forgetful{Server: new(Server), notes: make(chan struct{}, 1)}
	f.Methods = testMethods(t,
		&Method{Name: "more", Handler: HandlerFunc(func(context.Context, *Request) (any, error) {
			f.client.Load().send(`{"jsonrpc":"2.0","method":"note"}` + "\n")
			f.lookout.mu.Lock()
			f.lookout.next = time.Time{}
			f.lookout.mu.Unlock()
			f.lookout.look() // the runtime takes note of it now
			return "sent", nil
		})},
		&Method{Name: "note", Handler: HandlerFunc(func(context.Context, *Request) (any, error) {
			f.notes <- struct{}{}
			return nil, nil
		})})
	return f
}

func (f *forgetful) awaitNote(t *testing.T) {
	t.Helper()
	select {
	case <-f.notes:
	case <-time.After(patience):
		t.Fatal("the notification was not handled")
	}
}

// TestInputIsFoundThatTheRuntimeForgot: it came while the reader had neither read to
// the end nor begun to wait, and its client does not read its reply.
func TestInputIsFoundThatTheRuntimeForgot(t *testing.T) {
	srv := newForgetful(t)
	w := dialWire(t, startServer(t, srv.Server))
	srv.client.Store(w)
	for i := range 20 {
		for range waryFor + 1 { // with replies that are late
			w.send(`{"jsonrpc":"2.0","id":"a","method":"echo","params":[1]}` + "\n")
			require.Contains(t, w.line(), `"result":[1]`)
		}
		w.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"more"}`+"\n", i))
		srv.awaitNote(t)
		require.Contains(t, w.line(), fmt.Sprintf(`"id":%d,"result":"sent"`, i))
	}
}

// replyLate has the client make a call whose reply is late, and returns while its
// reader waits blind. No sweep looks for input before sweeps is called.
func replyLate(t *testing.T, srv *Server, client *wireConn) (c *conn, sweeps func()) {
	t.Helper()
	srv.sweeper.mu.Lock()
	client.send(`{"jsonrpc":"2.0","id":1,"method":"echo","params":[1]}` + "\n")
	require.Contains(t, client.line(), `"result":[1]`)
	c = onlyConn(t, srv)
	require.Eventually(t, func() bool { return c.blind.Load() == c.reading.state.Load()|1 }, patience, time.Millisecond)
	return c, srv.sweeper.mu.Unlock
}

// TestALookForInputThatIsNotThere disturbs nobody, and is made once.
func TestALookForInputThatIsNotThere(t *testing.T) {
	srv := &Server{Methods: testMethods(t)}
	client := dialWire(t, startServer(t, srv))
	for range 3 {
		c, sweeps := replyLate(t, srv, client)
		sweeps()
		require.Eventually(t, func() bool { return c.blind.Load() == 0 }, patience, time.Millisecond)
	}
}

// TestAnAdoptedConnectionIsReadBeforeAReplyIsLate: what its client has sent since
// another server has read it is in the socket.
func TestAnAdoptedConnectionIsReadBeforeAReplyIsLate(t *testing.T) {
	for name, input := range map[string]string{
		"refused": `{"jsonrpc":"2.0","id":1,"method":"nope"}`,
		"handled": `{"jsonrpc":"2.0","id":1,"method":"echo"}`,
	} {
		t.Run(name, func(t *testing.T) {
			noted := make(chan struct{}, 1)
			srv := &Server{Methods: testMethods(t, &Method{Name: "note", Handler: HandlerFunc(func(context.Context, *Request) (any, error) {
				noted <- struct{}{}
				return nil, nil
			})})}
			startServer(t, srv)
			nc, client := socketPair(t)
			_, err := client.Write([]byte(`{"jsonrpc":"2.0","method":"note"}` + "\n"))
			require.NoError(t, err)
			peer, err := PeerOf(nc)
			require.NoError(t, err)
			for range 3 { // the runtime takes note of it
				srv.lookout.next = time.Time{}
				srv.lookout.look()
			}
			srv.sweeper.mu.Lock() // it is found without
			defer srv.sweeper.mu.Unlock()
			srv.Adopt(Kept{Conn: nc, Peer: peer, Input: []byte(input + "\n")})
			select {
			case <-noted:
			case <-time.After(patience):
				t.Fatal("the notification was not handled")
			}
		})
	}
}

// TestEndsOfAConnectionWhoseReaderWaitsBlind are seen at once.
func TestEndsOfAConnectionWhoseReaderWaitsBlind(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, srv *Server, client *wireConn){
		"the client's": func(t *testing.T, _ *Server, client *wireConn) { require.NoError(t, client.Close()) },
		"the client's output": func(t *testing.T, _ *Server, client *wireConn) {
			require.NoError(t, client.CloseWrite())
			client.eof()
		},
		"a shutdown": func(t *testing.T, srv *Server, client *wireConn) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			require.NoError(t, srv.Shutdown(ctx))
			client.eof()
		},
		"a close": func(t *testing.T, srv *Server, client *wireConn) {
			require.NoError(t, srv.Close())
			client.eof()
		},
		"of idleness": func(t *testing.T, _ *Server, client *wireConn) { client.eof() },
	} {
		t.Run(name, func(t *testing.T) {
			srv := &Server{Methods: testMethods(t)}
			if name == "of idleness" {
				srv.Limits.IdleTimeout = 100 * time.Millisecond
			}
			client := dialWire(t, startServer(t, srv))
			_, sweeps := replyLate(t, srv, client)
			end(t, srv, client)
			sweeps()
			require.Eventually(t, func() bool { return len(srv.snapshot()) == 0 }, patience, time.Millisecond)
		})
	}
}

// TestALateReplyLeavesNothingBehind: where something else is to be written, or the
// reply is large, or several are, it is not late.
func TestALateReplyLeavesNothingBehind(t *testing.T) {
	srv := &Server{Methods: testMethods(t, &Method{Name: "count", Stream: func(_ context.Context, _ *Request, s *Stream) (any, error) {
		for i := range 3 {
			if err := s.Send("tick", map[string]int{"n": i}); err != nil {
				return nil, err
			}
		}
		return "counted", nil
	}})}
	client := dialWire(t, startServer(t, srv))
	large := strings.Repeat("x", lateReply)
	for i := range 3 * waryFor {
		client.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"count"}`+"\n"+`{"jsonrpc":"2.0","id":"e","method":"echo","params":[%d]}`+"\n", i, i))
		client.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":"l","method":"echo","params":[%q]}`+"\n", large))
		var got []string
		for len(got) < 3 {
			if r := client.reply(); r.Method == "" {
				require.Nil(t, r.Error)
				got = append(got, string(r.ID))
			}
		}
		require.ElementsMatch(t, []string{fmt.Sprint(i), `"e"`, `"l"`}, got)
	}
}
