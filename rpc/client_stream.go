package rpc

import (
	"context"
	"io"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
)

// StreamEvent is one event of a stream.
type StreamEvent struct {
	Method string
	Params RawMessage // an object; with "subscription", and "lost" where the server lost events
	// Lost is how many events before this one were lost, by the server or here.
	Lost int
}

// clientStreamQueue is how many events wait for Next, and the largest message is
// how many bytes their params may have together. Beyond either the oldest are
// dropped: a stream that nobody reads must not stop the replies to other calls.
const clientStreamQueue = 1024

// ClientStream is a call of a streaming method. Its events wait for Next in a
// queue of 1,024, and of MaxMessageBytes together; beyond that the oldest are
// dropped, and counted in Lost of the next. Next must not be called from two
// goroutines at once.
type ClientStream struct {
	client *Client
	method string
	id     uint64
	stop   func() bool // of the context

	mu     sync.Mutex
	events []StreamEvent
	bytes  int // of the params of events
	lost   int
	ended  bool
	result RawMessage
	err    error
	news   chan struct{} // of capacity 1
}

// Stream calls a streaming method. The stream ends with its reply, with ctx, or
// with Close.
func (c *Client) Stream(ctx context.Context, method string, params any) (*ClientStream, error) {
	raw, err := encodeParams(method, params, inCall)
	if err != nil {
		return nil, err
	}
	s := &ClientStream{client: c, method: method, news: make(chan struct{}, 1)}
	if s.id, err = c.start(ctx, &pending{stream: s}, method, raw); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.stop = context.AfterFunc(ctx, func() { s.giveUp(ctx.Err()) })
	if s.ended {
		s.stop()
	}
	s.mu.Unlock()
	return s, nil
}

// Next returns the next event. After the last one it returns io.EOF if the
// call has a result (see Result), else its CallError. When ctx, which is for
// this wait alone, ends, the stream goes on.
func (s *ClientStream) Next(ctx context.Context) (StreamEvent, error) {
	for {
		s.mu.Lock()
		if len(s.events) > 0 {
			e := s.popLocked()
			e.Lost += s.lost
			s.lost = 0
			s.mu.Unlock()
			return e, nil
		}
		if s.ended {
			defer s.mu.Unlock()
			if s.err != nil {
				return StreamEvent{}, s.err
			}
			return StreamEvent{}, io.EOF
		}
		s.mu.Unlock()
		select {
		case <-s.news:
		case <-ctx.Done():
			return StreamEvent{}, ctx.Err()
		}
	}
}

// Result returns the result of the call, once Next has returned io.EOF.
func (s *ClientStream) Result() RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.result
}

// Close cancels the call, unless it has ended. It does not wait.
func (s *ClientStream) Close() error {
	s.mu.Lock()
	stop := s.stop
	s.mu.Unlock()
	stop()
	s.giveUp(context.Canceled)
	return nil
}

func (s *ClientStream) giveUp(cause error) {
	s.finish(clientReply{err: cause})
	s.client.cancel(s.id)
}

// finish ends the stream; the first reason counts.
func (s *ClientStream) finish(r clientReply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.result, s.err = true, r.result, callFailure(s.method, r)
	s.wake()
}

// wake makes Next look. A stream keeps no context once it has ended.
func (s *ClientStream) wake() {
	if s.ended && s.stop != nil {
		s.stop()
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *ClientStream) add(e StreamEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	for len(s.events) > 0 && (len(s.events) == clientStreamQueue || s.bytes+len(e.Params) > s.client.max) {
		s.lost += 1 + s.popLocked().Lost
	}
	s.events = append(s.events, e)
	s.bytes += len(e.Params)
	s.wake()
}

// popLocked takes the oldest event out of the queue.
func (s *ClientStream) popLocked() StreamEvent {
	e := s.events[0]
	s.events[0] = StreamEvent{} // the array may live on
	s.events = s.events[1:]
	s.bytes -= len(e.Params)
	return e
}

// takeInEvent hands an event to its stream. A server that does not name the
// stream can have but one on a connection.
func (c *Client) takeInEvent(in incoming) {
	var p struct {
		Subscription RawMessage `json:"subscription"`
		Lost         int        `json:"lost"`
	}
	_ = json.Unmarshal(in.params, &p, lenient) // an event without them is one of an older server
	c.mu.Lock()
	c.served = true
	var stream *ClientStream
	if p.Subscription != nil {
		id, err := strconv.ParseUint(string(p.Subscription), 10, 64)
		if call := c.waiting[id]; err == nil && call != nil {
			stream = call.stream
		}
	} else {
		stream = c.onlyStreamLocked()
	}
	c.mu.Unlock()
	if stream != nil {
		stream.add(StreamEvent{Method: in.method, Params: in.params, Lost: max(p.Lost, 0)})
	}
}

// onlyStreamLocked returns the stream of a connection that has one.
func (c *Client) onlyStreamLocked() (only *ClientStream) {
	for _, call := range c.waiting {
		if call.stream == nil {
			continue
		}
		if only != nil {
			return nil
		}
		only = call.stream
	}
	return only
}
