package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// streamServer serves one streaming method, "s".
func streamServer(t *testing.T, m Method, h StreamHandler, limits Limits) func() *Server {
	return func() *Server {
		m.Name, m.Stream = "s", h
		return &Server{Methods: testMethods(t, &m), Limits: limits}
	}
}

const callStream = `{"jsonrpc":"2.0","method":"s","id":"x"}`

func TestAStreamSendsItsEventsAndThenTheReply(t *testing.T) {
	inBubble(t, streamServer(t, Method{}, func(_ context.Context, _ *Request, s *Stream) (any, error) {
		for i := range 3 {
			if err := s.Send("tick", map[string]int{"n": i}); err != nil {
				return nil, err
			}
		}
		return "end", s.Send("tock", nil)
	}, Limits{}), func(t *testing.T, _ *Server, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(callStream)
		for i := range 3 {
			require.Equal(t, fmt.Sprintf(`{"jsonrpc":"2.0","method":"tick","params":{"subscription":"x","n":%d}}`, i), c.line())
		}
		require.Equal(t, `{"jsonrpc":"2.0","method":"tock","params":{"subscription":"x"}}`, c.line())
		require.Equal(t, `{"jsonrpc":"2.0","id":"x","result":"end"}`, c.line())
	})
}

func TestASlowReaderLosesTheOldestEventsAndIsToldHowMany(t *testing.T) {
	inBubble(t, streamServer(t, Method{StreamQueueLength: 3}, func(_ context.Context, _ *Request, s *Stream) (any, error) {
		for i := range 10 {
			if err := s.Send("tick", map[string]int{"n": i}); err != nil {
				return nil, err
			}
			<-time.After(time.Millisecond) // the writer comes to rest
		}
		return nil, nil
	}, Limits{}), func(t *testing.T, _ *Server, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(callStream)
		<-time.After(time.Second) // nothing is read meanwhile
		require.Equal(t, `{"jsonrpc":"2.0","method":"tick","params":{"subscription":"x","n":0}}`, c.line())
		require.Equal(t, `{"jsonrpc":"2.0","method":"tick","params":{"subscription":"x","lost":6,"n":7}}`, c.line())
		require.Equal(t, `{"jsonrpc":"2.0","method":"tick","params":{"subscription":"x","n":8}}`, c.line())
		require.Equal(t, `{"jsonrpc":"2.0","method":"tick","params":{"subscription":"x","n":9}}`, c.line())
		require.Equal(t, `{"jsonrpc":"2.0","id":"x","result":null}`, c.line())
	})
}

func TestAStreamThatMustNotLoseEventsEndsInstead(t *testing.T) {
	failure := make(chan error, 1)
	inBubble(t, streamServer(t, Method{StreamQueueLength: 3, Overflow: EndStream}, func(ctx context.Context, _ *Request, s *Stream) (any, error) {
		for {
			if err := s.Send("tick", nil); err != nil {
				failure <- errors.Join(err, ctx.Err())
				return nil, err
			}
			<-time.After(time.Millisecond) // the writer comes to rest
		}
	}, Limits{}), func(t *testing.T, srv *Server, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(callStream)
		<-time.After(time.Second)
		require.ErrorIs(t, <-failure, context.Canceled)
		for range 4 {
			require.Contains(t, c.line(), `"method":"tick"`)
		}
		require.Contains(t, c.line(), `"code":-32001,"message":"the stream has ended: more than 3 events were waiting to be read","data":{"reason":"stream_queue","scope":"stream","limit":3`)
		require.Equal(t, 0, srv.Stats().Streams)
	})
}

func TestSendRefusesWhatNoEventCanCarry(t *testing.T) {
	results := make(chan error, 10)
	inBubble(t, streamServer(t, Method{}, func(_ context.Context, _ *Request, s *Stream) (any, error) {
		for _, params := range []any{1, json.RawMessage(`[1]`), json.RawMessage(`{`), map[string]int{"subscription": 1}, json.RawMessage(`{"a":{},"lo\u0073t":1}`), strings.Repeat("x", 2000), func() {}} {
			results <- s.Send("e", params)
		}
		results <- s.Send("e", map[string]string{"a": strings.Repeat("x", 2000)})
		return nil, s.Send("e", json.RawMessage(" { \"a\":\n1}"))
	}, Limits{MaxMessageBytes: 1024}), func(t *testing.T, _ *Server, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(callStream)
		for range 8 {
			require.Error(t, <-results)
		}
		require.Equal(t, `{"jsonrpc":"2.0","method":"e","params":{"subscription":"x", "a": 1}}`, c.line())
		require.Contains(t, c.line(), `"result":null`)
	})
}

func waitForEnd(ended chan<- error) StreamHandler {
	return func(ctx context.Context, _ *Request, s *Stream) (any, error) {
		if err := s.Send("begun", nil); err != nil {
			return nil, err
		}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, s.Send("late", nil)
	}
}

func TestAStreamEndsWithItsCancelItsPeerOrItsServer(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*pipeClient, *Server)
		code string
	}{
		"cancel": {func(c *pipeClient, _ *Server) {
			c.send(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"x"}}`)
		}, "-32011"},
		"drain": {func(_ *pipeClient, s *Server) { go func() { _ = s.Shutdown(context.Background()) }() }, "-32003"},
		"peer":  {func(c *pipeClient, _ *Server) { _ = c.Close() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var ended chan error
			inBubble(t, func() *Server {
				ended = make(chan error, 1)
				return streamServer(t, Method{}, waitForEnd(ended), Limits{})()
			}, func(t *testing.T, srv *Server, l *memoryListener) {
				p := newPipeClient(t, l.dial(1))
				p.send(callStream)
				require.Contains(t, p.line(), "begun")
				c.end(p, srv)
				if c.code != "" {
					require.Contains(t, p.line(), `"id":"x","error":{"code":`+c.code)
				}
				require.Error(t, <-ended)
				synctest.Wait()
				require.Equal(t, 0, srv.Stats().Streams)
			})
		})
	}
}

func TestStreamsAreBoundedPerConnectionAndTogether(t *testing.T) {
	inBubble(t, func() *Server {
		return streamServer(t, Method{}, waitForEnd(make(chan error, 100)), Limits{MaxStreams: 3, MaxStreamsPerConnection: 2})()
	}, func(t *testing.T, _ *Server, l *memoryListener) {
		a, b := newPipeClient(t, l.dial(1)), newPipeClient(t, l.dial(1))
		open := func(c *pipeClient, id int) string {
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"s","id":%d}`, id))
			return c.line()
		}
		require.Contains(t, open(a, 1), "begun")
		require.Contains(t, open(a, 2), "begun")
		require.Contains(t, open(a, 3), `"reason":"max_streams","scope":"connection","limit":2`)
		require.Contains(t, open(b, 1), "begun")
		require.Contains(t, open(b, 2), `"reason":"max_streams","scope":"server","limit":3`)
		a.send(`{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":1}}`)
		require.Contains(t, a.line(), "-32011")
		synctest.Wait()
		require.Contains(t, open(b, 3), "begun")
	})
}

func TestACallBehindAStreamBeginsAfterIt(t *testing.T) {
	for range 200 {
		var began []string // by the handlers; the replies order them before the test
		inBubble(t, func() *Server {
			srv := streamServer(t, Method{}, func(_ context.Context, _ *Request, s *Stream) (any, error) {
				began = append(began, "stream")
				return nil, nil
			}, Limits{})()
			srv.Methods.Handle("after", HandlerFunc(func(context.Context, *Request) (any, error) { return nil, nil }))
			return srv
		}, func(t *testing.T, _ *Server, l *memoryListener) {
			c := newPipeClient(t, l.dial(1))
			go c.send(callStream + "\n" + `{"jsonrpc":"2.0","method":"after","id":1}`)
			c.line()
			c.line()
			require.Equal(t, []string{"stream"}, began)
		})
	}
}
