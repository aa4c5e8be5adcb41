package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func testClient(t *testing.T, srv *Server) *Client {
	t.Helper()
	c, err := Dial(context.Background(), startServer(t, srv))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// peerClient returns a client, and the server's end of its connection for the
// test to play.
func peerClient(t *testing.T, opts ClientOptions) (*Client, *pipeClient) {
	near, far := net.Pipe()
	c := NewClient(near, opts)
	t.Cleanup(func() { _ = c.Close(); _ = far.Close() })
	return c, newPipeClient(t, far)
}

func failure(t *testing.T, err error) *CallError {
	t.Helper()
	var ce *CallError
	require.True(t, errors.As(err, &ce), "%v", err)
	return ce
}

func TestAClientCallsAndDecodes(t *testing.T) {
	c := testClient(t, &Server{Methods: testMethods(t)})
	var got struct{ A []int }
	require.NoError(t, c.Call(t.Context(), "echo", map[string][]int{"A": {1, 2}}, &got))
	require.Equal(t, []int{1, 2}, got.A)
	raw, err := c.CallRaw(t.Context(), "echo", nil)
	require.NoError(t, err)
	require.Equal(t, "null", string(raw))
	require.NoError(t, c.Notify(t.Context(), "echo", nil))
	require.Error(t, c.Call(t.Context(), "echo", func() {}, nil))
	require.ErrorContains(t, c.Call(t.Context(), "echo", RawMessage("{"), nil), "do not encode")
	require.ErrorContains(t, c.Call(t.Context(), "echo", []int{1}, new(string)), "does not decode")
}

func TestConcurrentCallsEachGetTheirOwnReply(t *testing.T) {
	c := testClient(t, &Server{Methods: testMethods(t)})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 100 {
				want := fmt.Sprintf("%d-%d", i, j)
				var got []string
				if err := c.Call(t.Context(), "echo", []string{want}, &got); err != nil || got[0] != want {
					t.Errorf("got %v, expected %s: %v", got, want, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAFailedCallSaysWhetherItWasExecuted(t *testing.T) {
	c := testClient(t, &Server{
		Methods: testMethods(t, &Method{Name: "app", Handler: HandlerFunc(func(context.Context, *Request) (any, error) {
			return nil, &Error{Code: -32000, Message: "no disk", Data: map[string]int{"n": 1}}
		})}),
		Limits: Limits{MaxMessageBytes: 2000},
	})
	for method, want := range map[string]struct {
		code     int
		executed Executed
	}{
		"nothing": {CodeMethodNotFound, ExecutedNo},
		"fail":    {CodeInternalError, ExecutedUnknown},
		"app":     {-32000, ExecutedYes},
	} {
		err := failure(t, c.Call(t.Context(), method, nil, nil))
		var e *Error
		require.True(t, errors.As(err, &e))
		require.Equal(t, want.code, e.Code)
		require.Equal(t, want.executed, err.Executed, method)
	}
	// The answer to a message that is too large names no call.
	err := failure(t, c.Call(t.Context(), "echo", []string{strings.Repeat("x", 3000)}, nil))
	require.Equal(t, ExecutedNo, err.Executed)
	require.ErrorContains(t, err, "message larger than 2000 bytes")
	<-c.Done()
	require.ErrorContains(t, c.Err(), "message larger than 2000 bytes")
	require.Equal(t, ExecutedNo, failure(t, c.Call(t.Context(), "echo", nil, nil)).Executed)
}

func TestAConnectionThatEndsLeavesNoCallWaiting(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	ended := make(chan error, 1)
	go func() { ended <- c.Call(context.Background(), "x", nil, nil) }()
	require.Equal(t, `{"jsonrpc":"2.0","method":"x","id":1}`, peer.line())
	_ = peer.Close()
	err := failure(t, <-ended)
	require.Equal(t, ExecutedUnknown, err.Executed)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, ExecutedNo, failure(t, c.Call(context.Background(), "x", nil, nil)).Executed)
	require.ErrorIs(t, c.Err(), io.EOF)
}

func TestAContextThatEndsCancelsItsCallAtTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := peerClient(t, ClientOptions{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- c.Call(ctx, "x", nil, nil) }()
		peer.line()
		err := failure(t, <-ended)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, ExecutedUnknown, err.Executed)
		require.Equal(t, `{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":1}}`, peer.line())
		peer.send(`{"jsonrpc":"2.0","id":1,"error":{"code":-32011,"message":"late"}}`) // dropped
		go func() { ended <- c.Call(context.Background(), "y", nil, nil) }()
		require.Contains(t, peer.line(), `"id":2`)
		peer.send(`{"jsonrpc":"2.0","id":2,"result":1}`)
		require.NoError(t, <-ended)
		_ = c.Close()
		synctest.Wait()
	})
}

func TestAStalledServerDoesNotHoldACallerBeyondItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := peerClient(t, ClientOptions{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		ended := make(chan error, 2)
		go func() { ended <- c.Call(ctx, "x", nil, nil) }() // nobody reads: nothing is written
		require.Equal(t, ExecutedNo, failure(t, <-ended).Executed)
		go func() { ended <- c.Call(context.Background(), "y", nil, nil) }()
		require.Contains(t, peer.line(), `"method":"y"`) // the connection is as good as before
		peer.send(`{"jsonrpc":"2.0","id":2,"result":1}`)
		require.NoError(t, <-ended)

		ctx2, cancel2 := context.WithTimeout(context.Background(), time.Second)
		defer cancel2()
		go func() { ended <- c.Call(ctx2, "z", nil, nil) }()
		_, err := peer.Read(make([]byte, 5)) // a part of it
		require.NoError(t, err)
		go func() { ended <- c.Call(context.Background(), "w", nil, nil) }() // behind it
		one, two := failure(t, <-ended), failure(t, <-ended)
		if one.Method == "w" {
			one, two = two, one
		}
		require.Equal(t, ExecutedUnknown, one.Executed)
		require.Equal(t, ExecutedNo, two.Executed)
		<-c.Done()
		synctest.Wait()
	})
}

func TestAReplyBeyondTheLimitEndsTheConnection(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{MaxMessageBytes: 100})
	go func() {
		peer.line()
		_, _ = peer.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("x", 1000) + `"}` + "\n"))
	}()
	require.ErrorContains(t, c.Call(context.Background(), "x", nil, nil), "larger than 100 bytes")
	<-c.Done()
}

func TestWhatIsNoReplyEndsTheConnection(t *testing.T) {
	for _, line := range []string{`{`, `1`, `{"id":1}`, `{"id":null,"result":1}`, `[1]`, `{"id":1,"result":1,"result":2}`} {
		c, peer := peerClient(t, ClientOptions{})
		go peer.send(line)
		<-c.Done()
		require.ErrorContains(t, c.Err(), "the server sent", line)
	}
}

func TestABatchHasAnOutcomeForEachCall(t *testing.T) {
	c := testClient(t, &Server{Methods: testMethods(t), Limits: Limits{MaxBatch: 4}})
	var one []int
	calls := []*BatchCall{
		{Method: "echo", Params: []int{1}, Result: &one},
		{Method: "echo", Notification: true},
		{Method: "nothing"},
		{Method: "echo", Params: []int{2}, Result: new(string)},
	}
	require.ErrorContains(t, c.Batch(t.Context(), calls), "nothing")
	require.NoError(t, calls[0].Err)
	require.Equal(t, []int{1}, one)
	require.NoError(t, calls[1].Err)
	require.Equal(t, ExecutedNo, failure(t, calls[2].Err).Executed)
	require.ErrorContains(t, calls[3].Err, "does not decode")

	err := c.Batch(t.Context(), append(calls, &BatchCall{Method: "echo"}))
	require.ErrorContains(t, err, "expected at most 4")
	require.Equal(t, ExecutedNo, failure(t, err).Executed)
	require.NoError(t, c.Batch(t.Context(), []*BatchCall{{Method: "echo", Notification: true}}))
	require.Error(t, c.Batch(t.Context(), nil))
	require.Empty(t, c.batches)
	require.Empty(t, c.waiting)
}

func TestAClientStreamDeliversEventsAndThenTheResult(t *testing.T) {
	c := testClient(t, streamServer(t, Method{}, func(_ context.Context, _ *Request, s *Stream) (any, error) {
		for i := range 3 {
			if err := s.Send("tick", map[string]int{"n": i}); err != nil {
				return nil, err
			}
		}
		return "end", nil
	}, Limits{})())
	s, err := c.Stream(t.Context(), "s", nil)
	require.NoError(t, err)
	for i := range 3 {
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "tick", e.Method)
		require.JSONEq(t, fmt.Sprintf(`{"subscription":1,"n":%d}`, i), string(e.Params))
	}
	_, err = s.Next(t.Context())
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, `"end"`, string(s.Result()))
	require.NoError(t, s.Close())
}

func TestClosingAStreamCancelsIt(t *testing.T) {
	ended := make(chan error, 3)
	c := testClient(t, streamServer(t, Method{}, waitForEnd(ended), Limits{})())
	s, err := c.Stream(t.Context(), "s", nil)
	require.NoError(t, err)
	_, err = s.Next(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Error(t, <-ended)
	_, err = s.Next(t.Context())
	require.ErrorIs(t, err, context.Canceled)

	ctx, cancel := context.WithCancel(t.Context())
	s, err = c.Stream(ctx, "s", nil)
	require.NoError(t, err)
	_, err = s.Next(t.Context())
	require.NoError(t, err)
	cancel()
	require.Error(t, <-ended)
	require.NoError(t, c.Call(t.Context(), "echo", nil, nil))
}

func TestAStreamThatNobodyReadsLosesEventsButStopsNobody(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	opened := make(chan *ClientStream)
	go func() {
		s, err := c.Stream(context.Background(), "s", nil)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	peer.line()
	s := <-opened
	for i := range clientStreamQueue + 10 {
		peer.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"e","params":{"n":%d}}`, i)) // as older servers send them
	}
	peer.send(`{"jsonrpc":"2.0","method":"e","params":{"subscription":1,"lost":5}}`)
	peer.send(`{"jsonrpc":"2.0","method":"e","params":{"subscription":77}}`) // of nobody
	peer.send(`{"jsonrpc":"2.0","id":1,"result":null}`)
	lost, got := 0, 0
	for {
		e, err := s.Next(context.Background())
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		lost += e.Lost
		got++
	}
	require.Equal(t, clientStreamQueue, got)
	require.Equal(t, 11+5, lost)
}

func TestDialWaitsForAFullBacklogAndForNothingElse(t *testing.T) {
	dir, err := os.MkdirTemp("", "rpc")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "s")
	_, err = Dial(context.Background(), path)
	require.ErrorIs(t, err, syscall.ENOENT)

	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = syscall.Close(fd) }()
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	_, err = Dial(context.Background(), path)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, syscall.Listen(fd, 0))
	first, err := Dial(context.Background(), path) // a backlog of 0 holds one
	require.NoError(t, err)
	defer func() { _ = first.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, path)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, syscall.EAGAIN)

	accepted := make(chan int)
	go func() {
		nfd, _, err := syscall.Accept(fd)
		if err != nil {
			t.Error(err)
		}
		accepted <- nfd
	}()
	second, err := Dial(context.Background(), path)
	require.NoError(t, err)
	_ = second.Close()
	_ = syscall.Close(<-accepted)
}

func FuzzAClientSurvivesItsServer(f *testing.F) {
	for _, s := range []string{"{}\n", `{"id":1,"result":1}` + "\n", "[]\n", `[{"id":1,"error":{"code":1}}]` + "\n", `{"method":"e","params":{"subscription":1,"lost":2}}` + "\n", `{"id":null,"error":{"code":-32001,"message":"full"}}` + "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		near, far := net.Pipe()
		c := NewClient(near, ClientOptions{MaxMessageBytes: 1000})
		go func() {
			_, _ = bufio.NewReader(far).ReadBytes('\n')
			_, _ = far.Write(input)
			_ = far.Close()
		}()
		_, err := c.CallRaw(context.Background(), "x", nil)
		var ce *CallError
		if err != nil && !errors.As(err, &ce) {
			t.Fatalf("%T %v", err, err)
		}
		<-c.Done()
		_ = c.Close()
	})
}
