package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/policy"
	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/rpc"
)

// DefaultMaxParamsBytes bounds the params of a call. To check them they are
// decoded, which takes about twenty times their size of memory.
const DefaultMaxParamsBytes = 1 << 20

// smallParams are decoded without waiting for others.
const smallParams = 64 << 10

// large lets one call at a time decode params that are not small.
var large = make(chan struct{}, 1)

var silent = func() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.PanicLevel)
	return l
}()

// method is one that an operator has defined.
type method struct {
	set        *Set
	definition *definition.Method
	policy     *policy.Policy
	params     *schema.Params
	result     *schema.Schema // nil if any will do
	backend    backend.Backend
}

// describe returns the method as a server knows it.
func (m *method) describe() *rpc.Method {
	d := m.definition
	described := &rpc.Method{
		Name:               d.Name,
		Summary:            d.Summary,
		ParamNames:         d.Positional,
		ParamsSchema:       m.params.Text(),
		ResultSchema:       m.resultText(),
		Timeout:            d.Timeout.Duration(),
		CancelOnDisconnect: d.CancelOnDisconnect,
	}
	if d.Stream {
		described.Stream = m.serveStream
	} else {
		described.Handler = rpc.HandlerFunc(m.serve)
	}
	return described
}

func (m *method) resultText() rpc.RawMessage {
	if m.result == nil {
		return nil
	}
	return m.result.Text()
}

func (m *method) serve(ctx context.Context, req *rpc.Request) (any, error) {
	return m.call(ctx, req, nil)
}

func (m *method) serveStream(ctx context.Context, req *rpc.Request, stream *rpc.Stream) (any, error) {
	return m.call(ctx, req, stream.Send)
}

func (m *method) call(ctx context.Context, req *rpc.Request, emit func(string, any) error) (any, error) {
	began := time.Now()
	result, err := m.run(ctx, req.Params, &backend.Call{Method: req.Method, RequestID: req.ID(), Peer: req.Peer, Emit: emit})
	m.set.observe(req.Method, codeOf(err), time.Since(began))
	if err != nil {
		return nil, err
	}
	return result, nil
}

// codeOf returns the code that a caller gets for an error of a method, 0 for none.
func codeOf(err error) int {
	var wire *rpc.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wire):
		return wire.Code
	case errors.Is(err, context.DeadlineExceeded):
		return rpc.CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		return rpc.CodeCancelled
	}
	return rpc.CodeInternalError
}

// run answers a call, of which all is known but what is made of params.
func (m *method) run(ctx context.Context, raw rpc.RawMessage, call *backend.Call) (rpc.RawMessage, error) {
	values, params, err := m.decode(ctx, raw)
	if err != nil {
		return nil, err
	}
	call.Params, call.Values, call.Secret = params, values, m.params.Secret(values)
	call.Log = m.set.log.WithFields(logrus.Fields{"method": call.Method, "request": call.RequestID, "uid": call.Peer.UID, "pid": call.Peer.PID})
	result, err := m.backend.Call(ctx, call)
	if err != nil {
		return nil, err
	}
	if m.result != nil {
		if _, err := m.result.Decode(result); err != nil {
			if call.Secret { // of a member that is not known it has the name, which is the program's to choose
				err = errors.New("why is not shown since the call has sensitive params")
			}
			return nil, call.Failed(rpc.ExecutedYes, fmt.Errorf("the result does not fit result_schema: %w", err))
		}
	}
	return result, nil
}

// decode checks params. An error is of type *rpc.Error, or the end of ctx.
func (m *method) decode(ctx context.Context, params rpc.RawMessage) (map[string]any, rpc.RawMessage, error) {
	limit := m.definition.MaxParamsBytes
	if limit == 0 {
		limit = DefaultMaxParamsBytes
	}
	if len(params) > limit {
		return nil, nil, rpc.Errorf(rpc.CodeInvalidParams, "invalid params: they have %d bytes, expected at most %d", len(params), limit)
	}
	if len(params) > smallParams {
		select {
		case large <- struct{}{}:
			defer func() { <-large }()
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
	values, full, err := m.params.Decode(params)
	if problems, ok := err.(schema.Problems); ok {
		return nil, nil, problems.InvalidParams()
	}
	return values, full, err
}
