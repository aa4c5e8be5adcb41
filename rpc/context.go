package rpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// callContext is what a handler sees of its call, and may keep for as long as it
// likes: it is never used for another call, except where Method.KeepsNothing allows
// that. The rest of a call is, as a rule.
type callContext struct {
	req      Request
	conn     *conn
	number   uint64        // on its connection, for logs
	deadline time.Duration // since conn.opened; 0: none
	state    atomic.Pointer[callState]
}

// requestID returns the name of the call in logs.
func (c *callContext) requestID() string {
	return fmt.Sprintf("%s-%d-%d", c.conn.srv.bootID, c.conn.number, c.number)
}

// callState makes what a context costs only for handlers that use it: most
// never ask whether they should stop, and need neither channel nor timer. A
// call has none until its context is used or ends.
type callState struct {
	real   context.Context // nil if it was not used before it ended
	cancel context.CancelCauseFunc
	stop   context.CancelFunc
	ended  error // cause; nil while it has not ended
}

// returned is the state of most calls: the handler has returned and never used
// its context.
var returned = &callState{ended: context.Canceled}

// Deadline, Done, Err and Value make it a context.Context.
func (c *callContext) Deadline() (time.Time, bool) {
	if c.deadline == 0 {
		return time.Time{}, false
	}
	now := time.Now() // by the clock as it is set now, not as it was when the connection came
	return now.Add(c.deadline - now.Sub(c.conn.opened)), true
}

func (c *callContext) Done() <-chan struct{} { return c.realContext().Done() }

func (c *callContext) Err() error {
	if c.state.Load() == nil {
		return nil
	}
	return c.realContext().Err()
}

func (c *callContext) Value(key any) any {
	if key == (requestKey{}) {
		return &c.req
	}
	// The real context must answer: package context finds its own kind of
	// parent by a value.
	return c.realContext().Value(key)
}

func (c *callContext) realContext() context.Context {
	for {
		s := c.state.Load()
		if s != nil && s.real != nil {
			return s.real
		}
		made := c.newState()
		if s != nil {
			made.end(s.ended)
		}
		if c.state.CompareAndSwap(s, made) {
			return made.real
		}
		made.end(context.Canceled) // frees what it holds
	}
}

func (c *callContext) newState() *callState {
	s := new(callState)
	s.real, s.cancel = context.WithCancelCause(context.Background())
	if deadline, ok := c.Deadline(); ok {
		s.real, s.stop = context.WithDeadline(s.real, deadline)
	}
	return s
}

// end ends the context. It runs functions of the handler's.
func (s *callState) end(cause error) {
	s.cancel(cause)
	if s.stop != nil {
		s.stop()
	}
}

// end ends the handler's context. The first cause stays.
func (c *callContext) end(cause error) {
	s := c.state.Load()
	if s == nil {
		ended := returned
		if cause != context.Canceled {
			ended = &callState{ended: cause}
		}
		if c.state.CompareAndSwap(nil, ended) {
			return
		}
		s = c.state.Load()
	}
	if s.real != nil {
		s.end(cause)
	}
}
