package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestADrainThatTakesTooLongCutsTheCallsOffAndSaysSo(t *testing.T) {
	gatesInBubble(t, Limits{MaxConcurrentRequests: 1}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(gateCall(1))
		comeToRest()
		c.send(gateCall(2))
		comeToRest()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		start := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- srv.Shutdown(ctx) }()
		replies := c.line() + c.line() // in any order
		require.Contains(t, replies, `"id":1,"error":{"code":-32003,"message":"the server is shutting down","data":{"reason":"shutting_down","scope":"server","executed":"unknown"}}`)
		require.Contains(t, replies, `"id":2,"error":{"code":-32003,"message":"the server is shutting down","data":{"reason":"shutting_down","scope":"server","executed":"no"}}`)
		require.Equal(t, 20*time.Second, time.Since(start))
		c.eof()
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
	})
}

func TestQueuedCallsAreFinishedByADrain(t *testing.T) {
	gatesInBubble(t, Limits{MaxConcurrentRequests: 1}, func(t *testing.T, srv *Server, g *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(gateCall(1))
		comeToRest()
		c.send(gateCall(2))
		comeToRest()
		ended := make(chan error, 1)
		go func() { ended <- srv.Shutdown(context.Background()) }()
		synctest.Wait()
		c.send(gateCall(3))
		require.Contains(t, c.line(), `"id":3,"error":{"code":-32003`)
		close(g.open)
		replies := c.line() + c.line()
		require.Contains(t, replies, `"id":1,"result":"through"`)
		require.Contains(t, replies, `"id":2,"result":"through"`)
		c.eof()
		require.NoError(t, <-ended)
		require.Len(t, g.entered, 2)
	})
}

func TestControlMethodsAnswerWhileTheServerDrainsAndWhileItIsFull(t *testing.T) {
	gatesInBubble(t, Limits{MaxConcurrentRequests: 1}, func(t *testing.T, srv *Server, g *gate, l *memoryListener) {
		ping := &Method{Name: "rpc.ping", Control: true, Handler: HandlerFunc(func(context.Context, *Request) (any, error) { return "pong", nil })}
		require.NoError(t, srv.Methods.RegisterExtension(ping))
		c := newPipeClient(t, l.dial(1))
		c.send(gateCall(1))
		comeToRest()
		c.send(gateCall(2))
		c.send(`{"jsonrpc":"2.0","method":"rpc.ping","id":3}`)
		require.Equal(t, `{"jsonrpc":"2.0","id":3,"result":"pong"}`, c.line())
		ended := make(chan error, 1)
		go func() { ended <- srv.Shutdown(context.Background()) }()
		synctest.Wait()
		c.send(`{"jsonrpc":"2.0","method":"rpc.ping","id":4}`)
		require.Equal(t, `{"jsonrpc":"2.0","id":4,"result":"pong"}`, c.line())
		close(g.open)
		c.line()
		c.line()
		c.eof()
		require.NoError(t, <-ended)
	})
}

func TestWhatWasSentBeforeTheEndOfADrainIsAnswered(t *testing.T) {
	srv := &Server{Methods: testMethods(t)}
	w := dialWire(t, startServer(t, srv))
	w.send(`{"jsonrpc":"2.0","method":"echo","id":0}` + "\n")
	w.line()
	ended := make(chan error, 1)
	go func() { ended <- srv.Shutdown(context.Background()) }()
	sent := 0
	for {
		if _, err := fmt.Fprintf(w, `{"jsonrpc":"2.0","method":"echo","id":%d}`+"\n", sent+1); err != nil {
			require.ErrorIs(t, err, syscall.EPIPE)
			break
		}
		sent++
	}
	for range sent {
		r := w.reply()
		require.True(t, r.Error == nil || r.Error.Code == CodeShuttingDown)
	}
	w.eof() // and no reset
	require.NoError(t, <-ended)
}

func TestServeAndShutdownCanComeInAnyOrder(t *testing.T) {
	srv := &Server{}
	require.NoError(t, srv.Shutdown(context.Background()))
	require.NoError(t, srv.Close())
	l := newMemoryListener()
	require.ErrorIs(t, srv.Serve(l), ErrServerClosed)
	<-l.closed
	require.False(t, srv.ShutdownIfIdle())
	close(l.conns)
}

func TestAnIdleServerEndsAndABusyOneGoesOn(t *testing.T) {
	gatesInBubble(t, Limits{}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		nc := l.dial(1)
		synctest.Wait()
		_, idle := srv.IdleSince()
		require.False(t, idle)
		require.False(t, srv.ShutdownIfIdle())
		c := newPipeClient(t, nc)
		c.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		c.line()
		d := newPipeClient(t, l.dial(2)) // accepting goes on, too
		d.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		d.line()
		_ = c.Close()
		_ = d.Close()
		synctest.Wait()
		left := time.Now()
		<-time.After(time.Minute)
		since, idle := srv.IdleSince()
		require.True(t, idle)
		require.Equal(t, left, since)
		require.True(t, srv.ShutdownIfIdle())
		require.False(t, srv.ShutdownIfIdle())
	})
}

func TestAConnectionThatComesWhileTheServerLooksIsNotLost(t *testing.T) {
	inherited, err := net.Listen("unix", "@marianned-idle-test") // what a service manager holds
	require.NoError(t, err)
	defer func() { require.NoError(t, inherited.Close()) }()
	file, err := inherited.(*net.UnixListener).File()
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()

	var answered atomic.Int64
	clients := make(chan error)
	const calls = 300
	go func() {
		for i := range calls {
			nc, err := net.Dial("unix", "@marianned-idle-test")
			if err == nil {
				_, err = fmt.Fprintf(nc, `{"jsonrpc":"2.0","method":"echo","id":%d}`+"\n", i)
			}
			if err == nil {
				_, err = nc.Read(make([]byte, 100))
			}
			if err != nil {
				clients <- fmt.Errorf("call %d: %w", i, err)
				return
			}
			answered.Add(1)
			_ = nc.Close()
		}
		clients <- nil
	}()
	starts := 0
	for answered.Load() < calls {
		starts++
		l, err := net.FileListener(file)
		require.NoError(t, err)
		srv := &Server{Methods: testMethods(t)}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		for answered.Load() < calls && !srv.ShutdownIfIdle() {
		}
		_ = srv.Close()
		require.ErrorIs(t, <-served, ErrServerClosed)
	}
	require.NoError(t, <-clients)
	require.Greater(t, starts, 1)
}

// brokenListener fails to accept for a while.
type brokenListener struct {
	*memoryListener
	failures int
	err      error
	times    []time.Time
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.times = append(l.times, time.Now())
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Err: l.err}
	}
	return l.memoryListener.Accept()
}

func TestAFailureToAcceptThatMayPassIsTriedAgainEverMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &brokenListener{memoryListener: newMemoryListener(), failures: 10, err: syscall.EMFILE}
		srv := &Server{Methods: testMethods(t)}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		c := newPipeClient(t, l.dial(1))
		c.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		c.line()
		_ = srv.Close()
		require.ErrorIs(t, <-served, ErrServerClosed)
		for i, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
			require.Equal(t, want*time.Millisecond, l.times[i+1].Sub(l.times[i]))
		}
		close(l.conns)
	})
}

func TestAListenerThatIsNoneEndsServe(t *testing.T) {
	l := &brokenListener{memoryListener: newMemoryListener(), failures: 1, err: syscall.EINVAL}
	srv := &Server{}
	require.ErrorIs(t, srv.Serve(l), syscall.EINVAL)
	require.NoError(t, srv.Close())
	close(l.conns)
}

func TestAConnectionWithoutAKnownPeerIsClosed(t *testing.T) {
	l := newMemoryListener()
	srv := &Server{}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	client, server := net.Pipe()
	l.conns <- server
	_, err := client.Read(make([]byte, 1))
	require.True(t, errors.Is(err, io.EOF), "%v", err)
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, ErrServerClosed)
	close(l.conns)
}

func TestThePeerIsWhoTheKernelSays(t *testing.T) {
	got := make(chan *Peer, 1)
	h := HandlerFunc(func(ctx context.Context, req *Request) (any, error) {
		got <- PeerFromContext(ctx)
		return nil, nil
	})
	w := dialWire(t, startServer(t, &Server{Methods: testMethods(t, &Method{Name: "who", Handler: h})}))
	w.send(`{"jsonrpc":"2.0","method":"who","id":1}` + "\n")
	p := <-got
	require.EqualValues(t, syscall.Geteuid(), p.UID)
	require.EqualValues(t, syscall.Getegid(), p.GID)
	require.EqualValues(t, syscall.Getpid(), p.PID)
	groups, err := syscall.Getgroups()
	require.NoError(t, err)
	for _, g := range groups {
		require.True(t, p.InGroup(uint32(g)), "group %d of %v", g, p.Groups)
	}
}
