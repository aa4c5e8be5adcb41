package rpc

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"
)

// left is how long the handler has, by its context.
func left(ctx context.Context, _ NoParams) (string, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return "", Errorf(-1, "no deadline")
	}
	return time.Until(deadline).String(), context.Cause(ctx)
}

// A call's time begins when its handler does, not when it or its connection came.
func TestADeadlineIsThatOfTheHandler(t *testing.T) {
	onSimNet(t, Limits{MaxConcurrentRequests: 1, RequestTimeout: 5 * time.Second}, func(t *testing.T, srv *Server, n *simNet) {
		srv.SetMethods(testMethods(t,
			&Method{Name: "left", Handler: Typed(left)},
			&Method{Name: "sleep", Handler: HandlerFunc(func(context.Context, *Request) (any, error) {
				time.Sleep(2 * time.Second)
				return nil, nil
			})},
			&Method{Name: "stream", Timeout: 7 * time.Second, Stream: func(ctx context.Context, _ *Request, _ *Stream) (any, error) {
				return left(ctx, NoParams{})
			}}))
		one, other := n.dial(1000, 1), n.dial(1000, 2)
		call := func(c *simEnd, method string) {
			c.put(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"%s","id":1}`+"\n", method))
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		call(other, "left")
		require.Contains(t, other.takeAll(), `"result":"5s"`)
		call(one, "sleep")
		call(other, "left") // waits for the slot
		require.Empty(t, other.takeAll())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Contains(t, other.takeAll(), `"result":"5s"`)
		call(other, "stream")
		require.Contains(t, other.takeAll(), `"result":"7s"`)
	})
}

// The longest timeout that can be written is as good as none.
func TestTheLongestTimeoutDoesNotPass(t *testing.T) {
	cl := &call{callContext: new(callContext), started: time.Second, timeout: math.MaxInt64}
	cl.setDeadline()
	require.Equal(t, time.Duration(math.MaxInt64), cl.deadline)

	onSimNet(t, Limits{RequestTimeout: math.MaxInt64}, func(t *testing.T, srv *Server, n *simNet) {
		srv.SetMethods(testMethods(t, &Method{Name: "wait", Handler: HandlerFunc(func(ctx context.Context, _ *Request) (any, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Hour): // another goroutine reads meanwhile, and the call has its timer
				return left(ctx, NoParams{})
			}
		})}))
		c := n.dial(1000, 1)
		time.Sleep(time.Second)
		c.put([]byte(`{"jsonrpc":"2.0","method":"wait","id":1}` + "\n"))
		time.Sleep(2 * time.Hour)
		reply := c.takeAll()
		require.Contains(t, reply, `"result":"`)
		require.False(t, strings.Contains(reply, `"-`), reply)
	})
}

// Who opened the connection before the clock was set has a deadline by the clock as it
// is now.
func TestADeadlineIsByTheClockAsItIsNow(t *testing.T) {
	opened := time.Now()
	wall := (*uint64)(unsafe.Pointer(&opened)) // of the seconds, above 30 bits of nanoseconds
	*wall -= 3600 << 30
	require.Less(t, time.Since(opened), time.Minute, "the monotonic clock is not to be set")
	require.Less(t, opened.Unix(), time.Now().Unix()-1800)

	cl := &call{callContext: &callContext{conn: &conn{opened: opened}}, timeout: time.Minute}
	cl.started = cl.conn.age()
	cl.setDeadline()
	deadline, _ := cl.Deadline()
	require.WithinDuration(t, time.Now().Add(time.Minute), deadline.Round(0), 30*time.Second)
	require.WithinDuration(t, time.Now().Add(time.Minute), deadline, 30*time.Second)
}

// seen is what a handler saw of a call.
type seen struct {
	ctx      context.Context
	req      *Request
	id       string
	request  Request       // as it was
	deadline time.Duration // from now
}

func see(ctx context.Context, req *Request) (s seen) {
	s = seen{ctx: ctx, req: req, id: req.ID(), request: *req}
	s.request.Params = bytes.Clone(req.Params)
	if deadline, ok := ctx.Deadline(); ok {
		s.deadline = time.Until(deadline)
	}
	return s
}

// onPipeline has a client send lines at once to a server with methods, and calls
// check when they are handled.
func onPipeline(t *testing.T, lines string, check func(replies string), methods ...*Method) {
	t.Helper()
	onSimNet(t, Limits{}, func(t *testing.T, srv *Server, n *simNet) {
		srv.SetMethods(testMethods(t, methods...))
		c := n.dial(1000, 1)
		c.put([]byte(lines))
		check(c.takeAll())
	})
}

// The contexts of a method that keeps nothing are used again, and nothing of one
// call is left for the next.
func TestAContextThatNobodyKeepsIsUsedAgain(t *testing.T) {
	var calls []seen
	lean := func(name string, timeout time.Duration) *Method {
		return &Method{Name: name, Timeout: timeout, KeepsNothing: true, Handler: RawFunc(func(ctx context.Context, req *Request) (RawMessage, error) {
			calls = append(calls, see(ctx, req))
			switch string(req.Params) {
			case `{"do":"panic"}`:
				panic("at the disco")
			case `{"do":"fail"}`:
				return nil, Errorf(-1, "no")
			}
			*req = Request{Method: "another", Params: RawMessage(`[]`), Notification: true, Peer: &Peer{UID: 0}}
			return nil, nil
		})}
	}
	var stream seen
	streaming := &Method{Name: "stream", KeepsNothing: true, Stream: func(ctx context.Context, req *Request, _ *Stream) (any, error) {
		stream = see(ctx, req)
		return nil, nil
	}}
	onPipeline(t, `{"jsonrpc":"2.0","method":"quick","params":{"n":1},"id":1}
{"jsonrpc":"2.0","method":"patient","id":2}
{"jsonrpc":"2.0","method":"quick","params":{"do":"panic"}}
{"jsonrpc":"2.0","method":"patient","params":{"do":"fail"},"id":4}
{"jsonrpc":"2.0","method":"quick","params":{"n":2},"id":5}
{"jsonrpc":"2.0","method":"stream","id":6}
`, func(replies string) { require.Equal(t, 5, strings.Count(replies, "\n")) },
		lean("quick", time.Second), lean("patient", time.Minute), streaming)
	require.Len(t, calls, 5)
	ids := map[string]bool{}
	for i, want := range []struct {
		request  Request
		deadline time.Duration
	}{
		{Request{Method: "quick", Params: RawMessage(`{"n":1}`)}, time.Second},
		{Request{Method: "patient"}, time.Minute},
		{Request{Method: "quick", Params: RawMessage(`{"do":"panic"}`), Notification: true}, time.Second},
		{Request{Method: "patient", Params: RawMessage(`{"do":"fail"}`)}, time.Minute},
		{Request{Method: "quick", Params: RawMessage(`{"n":2}`)}, time.Second},
	} {
		got := calls[i]
		require.Same(t, calls[0].ctx, got.ctx)
		require.Same(t, calls[0].req, got.req)
		require.False(t, ids[got.id], "%s came twice", got.id)
		require.True(t, strings.HasSuffix(got.id, fmt.Sprintf("-1-%d", i+1)), "%s is not that of the connection's call %d", got.id, i+1)
		ids[got.id] = true
		require.EqualValues(t, 1000, got.request.Peer.UID)
		got.request.Peer, got.request.call = nil, nil
		require.Equal(t, want.request, got.request, "call %d", i)
		require.Equal(t, want.deadline, got.deadline, "call %d", i)
	}
	require.NotSame(t, calls[0].ctx, stream.ctx)
	require.Zero(t, stream.deadline)
	require.EqualValues(t, 1000, stream.request.Peer.UID)
}

// Nobody holds a context that is left for the next call while there is none.
func TestAContextThatNobodyKeepsIsFreed(t *testing.T) {
	var last weak.Pointer[Request]
	lean := &Method{Name: "lean", KeepsNothing: true, Handler: RawFunc(func(_ context.Context, req *Request) (RawMessage, error) {
		last = weak.Make(req)
		return nil, nil
	})}
	onPipeline(t, strings.Repeat(`{"jsonrpc":"2.0","method":"lean"}`+"\n", 2), func(string) {
		runtime.GC()
		require.Nil(t, last.Value())
	}, lean)
}

// A context that somebody may still look at is never another call's.
func TestAContextThatSomebodyKeepsIsNotUsedAgain(t *testing.T) {
	type key struct{}
	for name, use := range map[string]func(ctx context.Context) context.Context{
		"WithCancel": func(ctx context.Context) context.Context {
			derived, cancel := context.WithCancel(ctx)
			context.AfterFunc(derived, cancel)
			return derived
		},
		"WithTimeout": func(ctx context.Context) context.Context {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			context.AfterFunc(derived, cancel)
			return derived
		},
		"Done": func(ctx context.Context) context.Context {
			_ = ctx.Done()
			return ctx
		},
		"Value": func(ctx context.Context) context.Context {
			_ = ctx.Value(key{})
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			var contexts, derived []context.Context
			handler := RawFunc(func(ctx context.Context, _ *Request) (RawMessage, error) {
				require.NoError(t, ctx.Err())
				contexts = append(contexts, ctx)
				derived = append(derived, use(ctx))
				return nil, nil
			})
			onPipeline(t, strings.Repeat(`{"jsonrpc":"2.0","method":"lean"}`+"\n", 3), func(string) {
				require.Len(t, contexts, 3)
				for i, ctx := range contexts {
					require.ErrorIs(t, derived[i].Err(), context.Canceled)
					for _, other := range contexts[:i] {
						require.NotSame(t, other, ctx)
					}
				}
			}, &Method{Name: "lean", Handler: handler, KeepsNothing: true})
		})
	}
}

// Only who says so has contexts of calls before: not the next method, nor a call
// that begins while the one before still runs.
func TestAContextIsUsedAgainOnlyWhereThatWasSaid(t *testing.T) {
	var kept []seen
	note := HandlerFunc(func(ctx context.Context, req *Request) (any, error) {
		kept = append(kept, see(ctx, req))
		return nil, nil
	})
	onPipeline(t, strings.Repeat(`{"jsonrpc":"2.0","method":"lean"}
{"jsonrpc":"2.0","method":"keeps"}
`, 3), func(replies string) {
		require.Empty(t, replies)
		require.Len(t, kept, 6)
		for i := 1; i < 6; i += 2 {
			require.ErrorIs(t, kept[i].ctx.Err(), context.Canceled)
			for j, other := range kept {
				require.True(t, i == j || other.ctx != kept[i].ctx)
			}
		}
	}, &Method{Name: "lean", Handler: note, KeepsNothing: true}, &Method{Name: "keeps", Handler: note})

	// The items of a batch are known to others than the reader.
	kept = nil
	onPipeline(t, `{"jsonrpc":"2.0","method":"lean"}
[{"jsonrpc":"2.0","method":"lean"},{"jsonrpc":"2.0","method":"lean"}]
`, func(string) {
		require.Len(t, kept, 3)
		require.NotSame(t, kept[1].ctx, kept[2].ctx)
	}, &Method{Name: "lean", Handler: note, KeepsNothing: true})

	onSimNet(t, Limits{}, func(t *testing.T, srv *Server, n *simNet) {
		var mu sync.Mutex
		var contexts []context.Context
		var ids []string
		srv.SetMethods(testMethods(t, &Method{Name: "lean", KeepsNothing: true, Handler: RawFunc(func(ctx context.Context, req *Request) (RawMessage, error) {
			before := req.ID()
			mu.Lock()
			contexts = append(contexts, ctx)
			second := len(contexts) == 2
			mu.Unlock()
			if second {
				time.Sleep(time.Second) // and is taken over
			}
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, before, req.ID())
			return nil, ctx.Err()
		})}))
		c := n.dial(1000, 1)
		c.put([]byte(strings.Repeat(`{"jsonrpc":"2.0","method":"lean"}`+"\n", 2)))
		time.Sleep(100 * time.Millisecond)
		c.put([]byte(`{"jsonrpc":"2.0","method":"lean","id":1}` + "\n"))
		require.Contains(t, c.takeAll(), `"result":null`)
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, contexts, 3)
		require.NotSame(t, contexts[1], contexts[2])
		require.ErrorIs(t, contexts[1].Err(), context.Canceled)
		require.Equal(t, ids[4], ids[5], "the request of the second call is still its own")
	})
}
