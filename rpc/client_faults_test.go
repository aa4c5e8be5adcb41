package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// called makes a call in the background and returns its outcome to come.
func called(c *Client, method string, params any) <-chan error {
	out := make(chan error, 1)
	go func() { out <- c.Call(context.Background(), method, params, nil) }()
	return out
}

// batched is called for a batch of n calls.
func batched(c *Client, n int) (<-chan error, []*BatchCall) {
	calls := make([]*BatchCall, n)
	for i := range calls {
		calls[i] = &BatchCall{Method: fmt.Sprintf("b%d", n)}
	}
	out := make(chan error, 1)
	go func() { out <- c.Batch(context.Background(), calls) }()
	return out, calls
}

const (
	tooLarge     = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"message larger than 100 bytes","data":{"reason":"message_too_large","scope":"connection","limit":100,"executed":"no"}}}`
	batchRefused = `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"too many items","data":{"reason":"max_batch","scope":"connection","limit":2,"executed":"no"}}}`
	noPlace      = `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"no place","data":{"reason":"max_connections","scope":"server","limit":1,"executed":"no"}}}`
)

func TestARefusalOfALargeMessageSaysNothingOfTheCallsThatRun(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	small := called(c, "transfer", nil)
	peer.line()
	large := called(c, "x", []string{strings.Repeat("x", 200)})
	peer.line()
	peer.send(tooLarge)
	_ = peer.Close()
	err := failure(t, <-small)
	require.Equal(t, ExecutedUnknown, err.Executed, "it was sent before, and may run")
	require.ErrorContains(t, err, "larger than 100 bytes")
	require.Equal(t, ExecutedNo, failure(t, <-large).Executed)
}

func TestARefusedBatchDoesNotDecideHowLaterCallsEnd(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	refused, _ := batched(c, 3)
	peer.line()
	peer.send(batchRefused)
	require.Equal(t, ExecutedNo, failure(t, <-refused).Executed)
	later := called(c, "transfer", nil)
	peer.line()
	_ = peer.Close()
	err := failure(t, <-later)
	require.Equal(t, ExecutedUnknown, err.Executed)
	require.ErrorIs(t, err, io.EOF)
}

func TestARefusalOfALargeBatchFindsItAmongOthers(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	runs, _ := batched(c, 2)
	peer.line()
	refused, _ := batched(c, 3)
	peer.line()
	peer.send(batchRefused)
	require.Equal(t, ExecutedNo, failure(t, <-refused).Executed)
	peer.send(`[{"jsonrpc":"2.0","id":2,"result":1},{"jsonrpc":"2.0","id":1,"result":1}]`)
	require.NoError(t, <-runs)
}

func TestAConnectionThatIsRefusedExecutedNothing(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	one, two := called(c, "x", nil), called(c, "y", nil)
	peer.line()
	peer.line()
	peer.send(noPlace)
	_ = peer.Close()
	require.Equal(t, ExecutedNo, failure(t, <-one).Executed)
	require.Equal(t, ExecutedNo, failure(t, <-two).Executed)
	var e *Error
	require.True(t, errors.As(c.Err(), &e))
	require.Equal(t, CodeResourceExhausted, e.Code)
}

func TestAResultThatOnlyItsCallerCanNotDecodeEndsNoConnection(t *testing.T) {
	for _, result := range []string{
		`{"a":1,"a":2}`, `"\ud800"`,
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
	} {
		c, peer := peerClient(t, ClientOptions{})
		got := make(chan RawMessage, 1)
		go func() {
			raw, err := c.CallRaw(context.Background(), "x", nil)
			if err != nil {
				t.Errorf("%.50s: %v", result, err)
			}
			got <- raw
		}()
		peer.line()
		peer.send(`{"jsonrpc":"2.0","id":1,"result":` + result + `}`)
		require.Equal(t, result, string(<-got))
		require.NoError(t, c.Err())
	}
}

func TestParamsThatNoRequestCanHoldAreNotSent(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	for _, params := range []any{5, "x", true, RawMessage(`"x"`), RawMessage(""), []byte("{"),
		RawMessage(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth))} {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what would be sent fails as a CallError
		var ce *CallError
		for _, err := range []error{
			c.Call(ctx, "x", params, nil), c.Notify(ctx, "x", params),
			c.Batch(ctx, []*BatchCall{{Method: "x", Params: params}}),
		} {
			require.Error(t, err)
			require.False(t, errors.As(err, &ce), "%.50v: %v", params, err)
		}
	}
	go func() { _ = c.Notify(context.Background(), "x", []byte(`{"a":1}`)) }()
	require.Equal(t, `{"jsonrpc":"2.0","method":"x","params":{"a":1}}`, peer.line())
}

func TestABatchThatDoesNotEncodeWasNotSentForAnyOfItsCalls(t *testing.T) {
	c, _ := peerClient(t, ClientOptions{})
	calls := []*BatchCall{{Method: "a"}, {Method: "b", Params: func() {}}, {Method: "c"}}
	err := c.Batch(context.Background(), calls)
	require.ErrorContains(t, err, "params of b do not encode")
	require.Equal(t, err, calls[1].Err)
	require.Equal(t, ExecutedNo, failure(t, calls[0].Err).Executed)
	require.Equal(t, ExecutedNo, failure(t, calls[2].Err).Executed)
}

func TestAReplyThatHasArrivedWinsOverAContextThatEnds(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c, peer := peerClient(t, ClientOptions{})
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			calls := []*BatchCall{{Method: "a"}, {Method: "b"}}
			ended := make(chan error, 1)
			go func() { ended <- c.Batch(ctx, calls) }()
			peer.line()
			go peer.line()                                   // the cancel of a
			peer.send(`{"jsonrpc":"2.0","id":2,"result":1}`) // in time
			require.Error(t, <-ended)
			require.Error(t, calls[0].Err)
			require.NoError(t, calls[1].Err, "its reply was there")
			_ = c.Close()
			synctest.Wait()
		})
	}
}

func TestAProtocolErrorWithoutDetailsLeavesOpenWhetherTheCallWasExecuted(t *testing.T) {
	for _, code := range []int{CodeResourceExhausted, CodeShuttingDown, CodeDeadlineExceeded, CodeCancelled} {
		require.Equal(t, ExecutedUnknown, ExecutedBy(&Error{Code: code}), code)
	}
	require.Equal(t, ExecutedYes, ExecutedBy(&Error{Code: -32000}))
}

func TestAMessageThatTheServerCutOffForItsSizeWasNotExecuted(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	large := called(c, "x", []string{strings.Repeat("x", 200)})
	_, err := io.ReadFull(peer, make([]byte, 150))
	require.NoError(t, err)
	peer.send(tooLarge)
	_ = peer.Close()
	ce := failure(t, <-large)
	require.Equal(t, ExecutedNo, ce.Executed)
	require.ErrorContains(t, ce, "larger than 100 bytes")
}

func TestTheEventsAStreamHoldsAreBoundedInBytesToo(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{MaxMessageBytes: 1000})
	opened := make(chan *ClientStream, 1)
	go func() {
		s, err := c.Stream(context.Background(), "s", nil)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	peer.line()
	s := <-opened
	for i := range 20 {
		peer.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"e","params":{"subscription":1,"n":%d,"x":"%s"}}`, i, strings.Repeat("x", 400)))
	}
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
	require.Equal(t, 20, got+lost)
	require.Equal(t, 2, got, "each has over 400 bytes, and 1000 are the bound")
}

func TestAnErrorThatCanBeAboutOneOfSeveralBatchesLeavesNoneWaiting(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	one, _ := batched(c, 2)
	peer.line()
	two, _ := batched(c, 3)
	peer.line()
	peer.send(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches here"}}`)
	require.Equal(t, ExecutedUnknown, failure(t, <-one).Executed)
	require.Equal(t, ExecutedUnknown, failure(t, <-two).Executed)
	alone, _ := batched(c, 2)
	peer.line()
	peer.send(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches here"}}`)
	require.Equal(t, ExecutedNo, failure(t, <-alone).Executed)
	require.NoError(t, c.Err())
}

func TestACallThatTheAnswerToItsBatchLeavesOutDoesNotWaitForEver(t *testing.T) {
	for answer, want := range map[string]string{
		`[{"jsonrpc":"2.0","id":2,"result":1}]`:                                                             "leaves it out",
		`[{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"why"}},{"id":2,"result":1}]`:         "why",
		`[{"jsonrpc":"2.0","method":"e"},{"jsonrpc":"2.0","id":2,"result":1},{"id":"other","result":null}]`: "leaves it out",
	} {
		c, peer := peerClient(t, ClientOptions{})
		ended, calls := batched(c, 2)
		peer.line()
		peer.send(answer)
		err := failure(t, <-ended)
		require.ErrorContains(t, err, want)
		require.Equal(t, ExecutedUnknown, err.Executed)
		require.NoError(t, calls[1].Err)
	}
}

func TestAnErrorThatTheConnectionOutlivedIsNotWhyItEnds(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	peer.send(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"long ago"}}`)
	for id := range 2 { // the first may have begun before the error was taken in
		call := called(c, "x", nil)
		peer.line()
		peer.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":null}`, id+1))
		require.NoError(t, <-call)
	}
	_ = peer.Close()
	<-c.Done()
	require.ErrorIs(t, c.Err(), io.EOF)
}

func TestARefusedConnectionThatHasServedDoesNotVouchForItsCalls(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	one := called(c, "x", nil)
	peer.line()
	peer.send(`{"jsonrpc":"2.0","id":1,"result":null}`)
	require.NoError(t, <-one)
	two := called(c, "x", nil)
	peer.line()
	peer.send(noPlace)
	_ = peer.Close()
	require.Equal(t, ExecutedUnknown, failure(t, <-two).Executed)
}

func TestTheEventsOfSeveralStreamsFindTheirOwn(t *testing.T) {
	c, peer := peerClient(t, ClientOptions{})
	open := func() *ClientStream {
		opened := make(chan *ClientStream, 1)
		go func() {
			s, err := c.Stream(context.Background(), "s", nil)
			if err != nil {
				t.Error(err)
			}
			opened <- s
		}()
		peer.line()
		return <-opened
	}
	one, two := open(), open()
	peer.send(`{"jsonrpc":"2.0","method":"e","params":{"n":0}}`) // nobody can tell whose it is
	peer.send(`{"jsonrpc":"2.0","method":"e","params":{"subscription":2,"n":2,"lost":-7}}`)
	peer.send(`{"jsonrpc":"2.0","method":"e","params":{"subscription":1,"n":1,"n":1}}`)
	peer.send(`{"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"enough"}}`)
	e, err := two.Next(context.Background())
	require.NoError(t, err)
	require.Equal(t, `{"subscription":2,"n":2,"lost":-7}`, string(e.Params))
	require.Zero(t, e.Lost)
	_, err = two.Next(context.Background())
	require.Equal(t, ExecutedYes, failure(t, err).Executed)
	e, err = one.Next(context.Background())
	require.NoError(t, err)
	require.Equal(t, `{"subscription":1,"n":1,"n":1}`, string(e.Params))
	_ = peer.Close()
	_, err = one.Next(context.Background())
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, ExecutedUnknown, failure(t, err).Executed)
}

// A peer that answers late, out of order, or not at all, and callers that lose
// patience: each call ends, with its own reply or its own context's error.
func TestCallersThatLosePatienceDisturbNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := peerClient(t, ClientOptions{})
		cancels := make(chan int, 1)
		go func() {
			var held []string
			n := 0
			defer func() { cancels <- n }()
			for {
				line, err := peer.lines.ReadString('\n')
				if err != nil {
					return
				}
				var id int
				switch {
				case strings.Contains(line, cancelMethod):
					n++
				case strings.Contains(line, `"silence"`): // never answered
				default:
					_, err := fmt.Sscanf(line[strings.LastIndex(line, ":")+1:], "%d", &id)
					if err != nil {
						t.Errorf("%v in %s", err, line)
					}
					held = append(held, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":%d}`, id, id))
				}
				for len(held) == 5 { // the last comes first
					for i := range held {
						if _, err := io.WriteString(peer, held[4-i]+"\n"); err != nil {
							return
						}
					}
					held = nil
				}
			}
		}()
		const callers = 40
		ended := make(chan error, 2*callers)
		for range callers {
			go func() {
				var got int
				ended <- c.Call(context.Background(), "x", nil, &got)
			}()
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				err := c.Call(ctx, "silence", nil, nil)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				ended <- nil
			}()
		}
		for range 2 * callers {
			require.NoError(t, <-ended)
		}
		require.NoError(t, c.Close())
		require.Equal(t, callers, <-cancels, "Close lets them leave")
		synctest.Wait()
		require.Empty(t, c.waiting)
	})
}

// Close while calls wait to be written, and others for their replies.
func TestClosingAClientThatStallsFreesEveryCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := peerClient(t, ClientOptions{})
		sent := called(c, "sent", nil)
		peer.line()
		held := []<-chan error{called(c, "x", nil), called(c, "x", nil), called(c, "x", nil)}
		synctest.Wait() // one of them is in its write, and nobody reads
		require.NoError(t, c.Close())
		err := failure(t, <-sent)
		require.Equal(t, ExecutedUnknown, err.Executed)
		require.ErrorIs(t, err, ErrClientClosed)
		for _, h := range held {
			err := failure(t, <-h)
			require.Equal(t, ExecutedNo, err.Executed)
			require.ErrorIs(t, err, ErrClientClosed)
		}
		synctest.Wait()
	})
}

func TestABatchThatCouldNotBeSentWasNotExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := peerClient(t, ClientOptions{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		calls := []*BatchCall{{Method: "a"}, {Method: "b", Notification: true}}
		err := c.Batch(ctx, calls) // nobody reads
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, call := range calls {
			require.Equal(t, ExecutedNo, failure(t, call.Err).Executed)
		}
		require.Empty(t, c.batches)
		require.Empty(t, c.waiting)
		_ = peer.Close()
		<-c.Done()
		require.Equal(t, ExecutedNo, failure(t, c.Batch(context.Background(), calls)).Executed)
		require.ErrorIs(t, calls[1].Err, io.EOF)
		require.Empty(t, c.batches)
	})
}

// FuzzClientFrame has a call, a batch and a stream wait while the server says
// anything at all.
func FuzzClientFrame(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"result":1}`, `{"id":1,"error":null,"result":null}`, `[]`, `[`, `[{"id":2,"result":1}]`, `[{"id":null,"error":{"code":1}}]`,
		`[{"id":3,"result":1},{"id":2,"error":{"code":-32000,"message":"","data":[1]}}]`, tooLarge, batchRefused, noPlace,
		`{"method":"e","params":{"subscription":4,"lost":3}}`, `{"method":"e","params":[]}`, `{"id":4,"result":{"a":1,"a":2}}`,
		`{"id":1,"result":"\ud800"}`, "\xff", `{"id":1e3,"result":1}`, `{"id":1,"result":1}{}`, `{"id":{},"result":1}`, `{"method":7}`,
	} {
		f.Add([]byte(s))
		f.Add([]byte(s + "\n" + s + "\r\n\n" + `{"id":1,"result":0}`))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		near, far := net.Pipe()
		c := NewClient(near, ClientOptions{MaxMessageBytes: 1000})
		go func() {
			lines := bufio.NewReader(far)
			for range 3 {
				_, _ = lines.ReadBytes('\n')
			}
			go func() { _, _ = io.Copy(io.Discard, lines) }()
			_, _ = far.Write(append(input, '\n'))
			_ = far.Close()
		}()
		call := &pending{reply: make(chan clientReply, 1)}
		id, err := c.start(context.Background(), call, "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		batch, _ := batched(c, 2)
		s, err := c.Stream(context.Background(), "s", nil)
		if err == nil {
			for err == nil {
				_, err = s.Next(context.Background())
			}
		}
		var ce *CallError
		if err != io.EOF && !errors.As(err, &ce) {
			t.Fatalf("%T %v", err, err)
		}
		if _, err := c.await(context.Background(), id, call, "x"); err != nil && !errors.As(err, &ce) {
			t.Fatalf("%T %v", err, err)
		}
		if err := <-batch; err != nil && !errors.As(err, &ce) {
			t.Fatalf("%T %v", err, err)
		}
		<-c.Done()
		_ = c.Close()
	})
}

func TestAMessageThatIsTooLargeCostsTheCallsBeforeItNothing(t *testing.T) {
	g := newGate()
	c := testClient(t, &Server{
		Methods: testMethods(t, &Method{Name: "gate", Handler: g}),
		Limits:  Limits{MaxMessageBytes: 1 << 20},
	})
	runs := called(c, "gate", nil)
	<-g.entered
	// More than a socket's buffer holds: it is cut off.
	err := failure(t, c.Call(t.Context(), "echo", []string{strings.Repeat("x", 5<<20)}, nil))
	require.ErrorContains(t, err, "larger than 1048576 bytes")
	require.Equal(t, ExecutedNo, err.Executed)
	after := failure(t, c.Call(t.Context(), "echo", nil, nil))
	require.ErrorContains(t, after, "larger than 1048576 bytes")
	require.Equal(t, ExecutedNo, after.Executed)
	close(g.open)
	require.NoError(t, <-runs, "the server answers what it has read")
	<-c.Done()
	require.ErrorContains(t, c.Err(), "larger than 1048576 bytes")
}

func TestAFailedWriteWaitsForItsReasonButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := NewClient(brokenWrites{near}, ClientOptions{})
		started := time.Now()
		err := failure(t, c.Call(context.Background(), "x", nil, nil))
		require.ErrorIs(t, err, io.ErrClosedPipe)
		require.Equal(t, ExecutedNo, err.Executed)
		require.Equal(t, reasonTimeout, time.Since(started))
		<-c.Done()
		_ = far.Close()
		synctest.Wait()
	})
}

// brokenWrites is a connection that can be read only.
type brokenWrites struct{ net.Conn }

func (brokenWrites) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
