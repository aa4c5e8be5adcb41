package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/rpc"
)

// Worker answers a method by a worker. It is a backend.Backend.
type Worker struct {
	workers *Workers
	pool    *pool
	target  string // the method there
	tool    string // "" for none
	result  string // of a tool
	event   string // the name of all events; "" for what the worker calls them
}

var _ backend.Backend = (*Worker)(nil)

// New returns what answers a method by a worker with these settings. What is
// wrong with the method's definition is added to findings.
func (ws *Workers) New(m *definition.Method, params *schema.Params, s *Settings, log logrus.FieldLogger, findings *definition.Findings) *Worker {
	w := &Worker{workers: ws, target: m.Target, tool: m.Tool, result: m.Result, event: m.Event}
	w.check(m, s, findings)
	if w.target == "" {
		w.target = m.Name
	}
	if w.tool != "" {
		w.target = "tools/call"
	}
	secret := slices.ContainsFunc(params.Names(), func(name string) bool { return params.Parameter(name).Sensitive })
	w.pool = ws.use(s, secret, log)
	return w
}

func (w *Worker) check(m *definition.Method, s *Settings, findings *definition.Findings) {
	switch {
	case m.Tool != "" && !s.MCP:
		findings.Add(m.At("tool"), "tool is set, but the worker %q does not speak MCP: add protocol = \"mcp\" to it, or name the method by target", s.Name)
	case m.Tool != "" && m.Target != "":
		findings.Add(m.At("target"), "target and tool are both set: a tool is called by tools/call; drop one of them")
	case m.Tool == "" && m.Result != "":
		findings.Add(m.At("result"), "result is set: what a worker answers is the result as it is, but for a tool")
	case m.Result != "" && m.Result != resultText && m.Result != resultJSON:
		findings.Add(m.At("result"), "result is %q, expected one of: %s, %s", m.Result, resultText, resultJSON)
	}
	if m.Event != "" && !m.Stream {
		findings.Add(m.At("event"), "event is set, but the method is no stream: add stream = true")
	}
}

// Close lets the worker end once no method uses it.
func (w *Worker) Close() { w.workers.release(w.pool) }

// Call has a worker answer the call. When ctx ends the worker is told so, and
// what it does about it is its own affair: only a worker that is silent from
// then on is ended.
func (w *Worker) Call(ctx context.Context, call *backend.Call) (rpc.RawMessage, error) {
	var emit func(message)
	if call.Emit != nil {
		emit = func(m message) { w.emit(call, m) }
	}
	pool := w.workers.hold(w.pool)
	defer w.workers.release(pool)
	x := pool.submit(func(id uint64) []byte { return w.frame(id, call) }, emit)
	o, ok := pool.await(ctx, x)
	switch {
	case !ok:
		return nil, context.Cause(ctx)
	case o.refused != nil:
		return nil, call.Relay(o.refused, rpc.ExecutedBy(o.refused))
	case o.err != nil:
		return nil, w.failure(call, o)
	case w.tool != "":
		return toolResult(call, w.result, o.result)
	}
	return o.result, nil
}

func (w *Worker) frame(id uint64, call *backend.Call) []byte {
	params := call.Params
	if w.tool != "" {
		params = toolParams(id, w.tool, params, call.Emit != nil)
	}
	return requestFrame(id, w.target, params)
}

func (w *Worker) failure(call *backend.Call, o outcome) *rpc.Error {
	switch {
	case errors.Is(o.err, errStopped):
		return &rpc.Error{Code: rpc.CodeShuttingDown, Message: "the server is shutting down",
			Data: &rpc.ErrorData{Reason: rpc.ReasonShuttingDown, Scope: "server", Executed: o.executed, RequestID: call.RequestID}}
	case errors.Is(o.err, errTooLarge):
		limit := w.pool.settings.MaxMessageBytes
		return &rpc.Error{Code: rpc.CodeReplyTooLarge,
			Message: fmt.Sprintf("the worker's reply is larger than %d bytes; ask for less", limit),
			Data:    &rpc.ErrorData{Reason: rpc.ReasonReplyTooLarge, Scope: "method", Limit: int64(limit), Executed: o.executed, RequestID: call.RequestID}}
	case o.retry > 0:
		return call.Unavailable(o.executed, o.retry, o.err)
	}
	return call.Failed(o.executed, o.err)
}

// emit sends a notification of the worker's as an event.
func (w *Worker) emit(call *backend.Call, m message) {
	name := w.event
	if name == "" {
		name = m.method
	}
	params, err := backend.EventParams(rpc.RawMessage(m.params), 0)
	if err == nil {
		err = call.Emit(name, params)
	}
	if err != nil { // the stream has ended, or the event does not fit into it
		call.Log.WithError(err).Debug("an event of the worker's is left out")
	}
}
