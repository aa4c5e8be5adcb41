package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// simWork is the params of every method of a simulation.
type simWork struct {
	Token  string `json:"token"` // no two requests have the same
	MS     int    `json:"ms"`
	Deaf   bool   `json:"deaf"`   // does not heed its context
	Bytes  int    `json:"bytes"`  // of the result, or of each event
	Events int    `json:"events"` // of a stream
	Pad    string `json:"pad"`
}

// executions is what the handlers of a simulation have to say.
type executions struct {
	mu       sync.Mutex
	begun    map[string]int // by token
	ended    map[string]int
	all      int   // handlers that run
	running  int   // of them, those that need a slot
	most     int   // of running, since it was last asked
	gated    []int // bounds that the running calls of "gated" came with
	problems []string
}

func newExecutions() *executions {
	return &executions{begun: make(map[string]int), ended: make(map[string]int)}
}

func (x *executions) problem(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.problems = append(x.problems, fmt.Sprintf(format, args...))
}

// over reports whether no handler runs.
func (x *executions) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all == 0
}

// run runs do as the handler of token; slot says that it needs one.
func (x *executions) run(token string, slot bool, do func() (any, error)) (any, error) {
	x.mu.Lock()
	if x.begun[token]++; x.begun[token] > 1 {
		x.problems = append(x.problems, fmt.Sprintf("request %s was executed twice", token))
	}
	x.all++
	if slot {
		x.running++
		x.most = max(x.most, x.running)
	}
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.ended[token]++
		x.all--
		if slot {
			x.running--
		}
	}()
	return do()
}

// result is what "work" answers, and "large" with bytes.
func (w simWork) result() string {
	if w.Bytes == 0 {
		return `"` + w.Token + `"`
	}
	return `"` + strings.Repeat(w.Token+"-", w.Bytes/(len(w.Token)+1)+1)[:w.Bytes] + `"`
}

func (w simWork) wait(ctx context.Context) error {
	if w.MS == 0 {
		return nil
	}
	var done <-chan struct{}
	if !w.Deaf {
		done = ctx.Done()
	}
	select {
	case <-time.After(time.Duration(w.MS) * time.Millisecond):
		return nil
	case <-done:
		return ctx.Err()
	}
}

// handler returns a Handler that decodes params, does do and watches both.
func (x *executions) handler(slot bool, do func(ctx context.Context, req *Request, w simWork) (any, error)) Handler {
	return HandlerFunc(func(ctx context.Context, req *Request) (any, error) {
		var w simWork
		if err := json.Unmarshal(req.Params, &w); err != nil {
			x.problem("params are no longer what they were: %v: %.100q", err, req.Params)
			return nil, err
		}
		return x.run(w.Token, slot, func() (any, error) {
			before, params, id := *req, bytes.Clone(req.Params), req.ID()
			deadline, _ := ctx.Deadline()
			defer func() {
				now, _ := ctx.Deadline()
				if !bytes.Equal(params, req.Params) || req.ID() != id || req.Method != before.Method ||
					req.Peer != before.Peer || req.Notification != before.Notification || !now.Equal(deadline) {
					x.problem("the request of %s changed while its handler ran", w.Token)
				}
			}()
			return do(ctx, req, w)
		})
	})
}

func (x *executions) work(ctx context.Context, _ *Request, w simWork) (any, error) {
	if err := w.wait(ctx); err != nil {
		return nil, err
	}
	return RawMessage(w.result()), nil
}

// text makes a RawFunc of a handler that answers with text.
func text(h Handler) RawFunc {
	return func(ctx context.Context, req *Request) (RawMessage, error) {
		result, err := h.ServeRPC(ctx, req)
		raw, _ := result.(RawMessage)
		return raw, err
	}
}

// gate is work that watches the bound of its method. Calls that wait while the
// methods are replaced go on with the bound that they came with.
func (x *executions) gate(bound int) Handler {
	return x.handler(true, func(ctx context.Context, req *Request, w simWork) (any, error) {
		x.mu.Lock()
		// One that passed its gate may begin after one that passed later.
		if x.gated = append(x.gated, bound); len(x.gated) > slices.Max(x.gated) {
			x.problems = append(x.problems, fmt.Sprintf("calls of %s run that are bound to %v", req.Method, x.gated))
		}
		x.mu.Unlock()
		defer func() {
			x.mu.Lock()
			defer x.mu.Unlock()
			i := slices.Index(x.gated, bound)
			x.gated = slices.Delete(x.gated, i, i+1)
		}()
		return x.work(ctx, req, w)
	})
}

// simEvent is the params of an event of a simulated stream.
type simEvent struct {
	Subscription RawMessage `json:"subscription"`
	Sequence     int        `json:"sequence"`
	Lost         int        `json:"lost"`
	Pad          string     `json:"pad"`
}

func (x *executions) watch(ctx context.Context, req *Request, s *Stream) (any, error) {
	var w simWork
	if err := json.Unmarshal(req.Params, &w); err != nil {
		return nil, err
	}
	return x.run(w.Token, false, func() (any, error) {
		for i := range w.Events {
			if err := w.wait(ctx); err != nil {
				return nil, err
			}
			if err := s.Send("tick", map[string]any{"sequence": i + 1, "pad": strings.Repeat("e", w.Bytes)}); err != nil {
				return nil, err
			}
		}
		return RawMessage(`"` + w.Token + `"`), nil
	})
}

// methods returns what a simulated server serves; gate is the bound of "gated",
// and without optional there is no "timed".
func (x *executions) methods(gate int, optional bool) *Methods {
	echo := func(ctx context.Context, req *Request, w simWork) (any, error) {
		if err := w.wait(ctx); err != nil {
			return nil, err
		}
		return req.Params, nil
	}
	list := []*Method{
		{Name: "work", Handler: x.handler(true, x.work)},
		{Name: "echo", Handler: text(x.handler(true, echo)), KeepsNothing: true},
		{Name: "bound", Handler: x.handler(true, x.work), CancelOnDisconnect: true, KeepsNothing: true},
		{Name: "gated", Handler: x.gate(gate), MaxConcurrent: gate, KeepsNothing: true},
		{Name: "control", Handler: x.handler(false, x.work), Control: true, KeepsNothing: true},
		{Name: "fail", KeepsNothing: true, Handler: x.handler(true, func(context.Context, *Request, simWork) (any, error) { return nil, errors.New("secret") })},
		{Name: "panic", KeepsNothing: true, Handler: x.handler(true, func(ctx context.Context, _ *Request, w simWork) (any, error) {
			_ = w.wait(ctx)
			panic("secret")
		})},
		{Name: "goexit", KeepsNothing: true, Handler: x.handler(true, func(ctx context.Context, _ *Request, w simWork) (any, error) {
			_ = w.wait(ctx)
			runtime.Goexit()
			return nil, nil
		})},
		{Name: "hidden", Handler: x.handler(true, x.work)},
		{Name: "denied", Handler: x.handler(true, x.work)},
		{Name: "watch", Stream: x.watch, StreamQueueLength: 3},
		{Name: "must", Stream: x.watch, StreamQueueLength: 3, Overflow: EndStream},
	}
	if optional {
		list = append(list, &Method{Name: "timed", Handler: x.handler(true, x.work), Timeout: 20 * time.Millisecond, KeepsNothing: true})
	}
	ms := new(Methods)
	for _, m := range list {
		if err := ms.Register(m); err != nil {
			panic(err)
		}
	}
	return ms
}

func simAuthorize(_ *Peer, m *Method) error {
	switch m.Name {
	case "hidden":
		return ErrHidden
	case "denied":
		return errors.New("not for you")
	}
	return nil
}
