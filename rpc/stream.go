package rpc

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
)

// Stream sends the events of one streaming call. Its methods may be used from
// any goroutine.
type Stream struct {
	call *call
	max  int

	// Guarded by conn.mu.
	queue []event // the oldest first, at most max
	bytes int     // of it
	lost  int     // dropped since the last one that was delivered
	final []byte  // the frame behind the last event
	ended bool    // takes no more events
	ready bool    // stands in conn.ready
	turn  int     // bytes that were sent since others had the processor
}

// maxStreamBytes is how much the events of one stream that wait may hold, in
// bytes, if they are more than one.
const maxStreamBytes = 1 << 20

// sendTurn is how many bytes a handler sends, each event counted with eventTurn
// more, before it lets others have the processor: one that sends without a pause
// must not delay all others, and fifty of them not by fifty slices of the runtime.
const (
	sendTurn  = 96 << 10
	eventTurn = 1 << 10
)

// event is one notification: its method as a JSON string, and its params
// object without the opening brace.
type event struct{ method, members []byte }

// Names that Send adds to the params of an event.
const (
	memberSubscription = "subscription"
	memberLost         = "lost"
)

// Send queues a notification to the client: method event, params an object (or
// nil) to which "subscription" with the id of the call is added, and "lost" if
// events were dropped before it. It does not wait for the client: see
// Method.Overflow for what happens when StreamQueueLength events are waiting.
//
// It fails with the cause of the context's end once the stream has ended, and
// for params that are no object, use a name that Send adds, or are larger than
// MaxMessageBytes; these failures leave the stream as it was.
func (s *Stream) Send(name string, params any) error {
	e, err := s.encode(name, params)
	if err != nil {
		return err
	}
	c := s.call.conn
	c.mu.Lock()
	if s.ended {
		c.mu.Unlock()
		if err := context.Cause(s.call.callContext); err != nil {
			return err
		}
		return fmt.Errorf("rpc: the stream of %q has ended", s.call.method.Name)
	}
	if c.gone || c.closed { // the context ends at the same time
		c.mu.Unlock()
		return nil
	}
	s.turn += s.size(e) + eventTurn
	turned := s.turn > sendTurn
	if turned {
		s.turn = 0
	}
	overflow := false
	for len(s.queue) == s.max || (len(s.queue) > 0 && s.bytes+s.size(e) > maxStreamBytes) {
		if overflow = s.call.method.Overflow == EndStream; overflow {
			break
		}
		c.unchargeOutput(s.size(s.popEventLocked()))
		s.lost++
	}
	if !overflow {
		s.queue = append(s.queue, e)
		s.bytes += s.size(e)
		c.chargeOutput(s.size(e))
		c.readyLocked(s)
	}
	c.mu.Unlock()
	c.srv.relieve()
	if overflow {
		refusal := c.srv.adm.streamQueueFull(s.max)
		c.answer(s.call, nil, refusal, nil)
		s.call.end(refusal)
		c.flushSoon()
		return refusal
	}
	c.flushSoon()
	if turned {
		runtime.Gosched()
	}
	return nil
}

func (s *Stream) encode(name string, params any) (event, error) {
	raw := RawMessage("{}")
	if params != nil {
		var err error
		if raw, err = encode(params); err != nil {
			return event{}, fmt.Errorf("rpc: event %q: the params do not encode: %w", name, err)
		}
	}
	raw = raw[skipSpace(raw, 0):]
	if raw[0] != '{' {
		return event{}, fmt.Errorf("rpc: event %q: params are %s, expected an object", name, excerpt(raw))
	}
	if used := reservedMember(raw); used != "" {
		return event{}, fmt.Errorf("rpc: event %q: params have a member %q, which the stream adds itself; choose another name", name, used)
	}
	e := event{method: appendString(nil, name), members: append([]byte(nil), raw[1:]...)}
	if n := s.call.conn.limits().MaxMessageBytes; s.size(e) > n {
		return event{}, fmt.Errorf("rpc: event %q is larger than %d bytes", name, n)
	}
	return e, nil
}

// reservedMember returns the name of the first member that Send adds itself.
func reservedMember(object []byte) string {
	for i := skipSpace(object, 1); object[i] != '}'; {
		name, next, err := scanName(object, i)
		if err == nil {
			next, err = skipValue(object, next, 1)
		}
		if err != nil {
			panic(fmt.Sprintf("rpc: %v in params that were found to be valid", err))
		}
		if n := string(unquote(name)); n == memberSubscription || n == memberLost {
			return n
		}
		if i = skipSpace(object, next); object[i] == ',' {
			i++
		}
	}
	return ""
}

const eventOverhead = len(`{"jsonrpc":"2.0","method":,"params":{"subscription":,"lost":18446744073709551615,}}`)

// size bounds the frame of e from above.
func (s *Stream) size(e event) int {
	return eventOverhead + len(e.method) + len(s.call.id) + len(e.members)
}

// popLocked appends the frame of the oldest event to out. A frame behind the
// last event follows it. more says that the stream has another.
func (s *Stream) popLocked(out *output) (more bool) {
	if len(s.queue) > 0 {
		e := s.popEventLocked()
		s.call.conn.unchargeOutput(s.size(e))
		lost := []byte(nil)
		if s.lost > 0 {
			lost = strconv.AppendInt([]byte(`,"lost":`), int64(s.lost), 10)
			s.lost = 0
		}
		comma := []byte(",")
		if e.members[skipSpace(e.members, 0)] == '}' {
			comma = nil
		}
		out.put([]byte(`{"jsonrpc":"2.0","method":`), e.method, []byte(`,"params":{"subscription":`), s.call.id,
			lost, comma, e.members, replyEnd)
	}
	if len(s.queue) > 0 {
		return true
	}
	if s.final != nil {
		out.putLarge(s.final, nil)
		out.places++
		s.final = nil
	}
	return false
}

// finishLocked ends the stream with the reply to its call. Events that wait
// are delivered before it, or dropped.
func (s *Stream) finishLocked(reply []byte, deliver bool) {
	s.ended = true
	s.final = reply
	if !deliver {
		s.dropEventsLocked()
	}
	s.call.conn.readyLocked(s)
}

func (s *Stream) popEventLocked() event {
	e := s.queue[0]
	s.queue = s.queue[1:]
	s.bytes -= s.size(e)
	return e
}

func (s *Stream) dropEventsLocked() {
	s.call.conn.unchargeOutput(s.bytes)
	s.queue, s.bytes = nil, 0
}

// discardLocked drops what a connection has for nobody.
func (s *Stream) discardLocked() {
	s.dropEventsLocked()
	s.final, s.ready = nil, false
}
