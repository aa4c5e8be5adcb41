package forward

import (
	"context"
	"errors"
	"io"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

// maxSharedParams is how large, in bytes, params may be to go over a connection
// that others use too: what fits into the buffer of a socket is sent at once, as
// long as the server reads.
const maxSharedParams = 32 << 10

// Sockets are the pools that methods share, one for equal settings. The zero
// value is none. It is for one goroutine.
type Sockets struct {
	pools map[Settings]*pool
}

// Forward answers a method by a socket. It is a backend.Backend.
type Forward struct {
	pool   *pool
	target string
	event  string
}

var _ backend.Backend = (*Forward)(nil)

// New returns what answers a method by the socket of these settings. What is
// wrong with the method's definition is added to findings.
func (s *Sockets) New(m *definition.Method, settings Settings, log logrus.FieldLogger, findings *definition.Findings) *Forward {
	if m.Event != "" && !m.Stream {
		findings.Add(m.At("event"), "event is set, but the method is no stream: add stream = true")
	}
	p := s.pools[settings]
	if p == nil {
		p = newPool(settings, log)
		if s.pools == nil {
			s.pools = make(map[Settings]*pool)
		}
		s.pools[settings] = p
	}
	p.use()
	f := &Forward{pool: p, target: m.Target, event: m.Event}
	if f.target == "" {
		f.target = m.Name
	}
	return f
}

// Close lets connections close once no method needs them.
func (f *Forward) Close() { f.pool.unuse() }

// Call has the socket's server answer the call. When ctx ends, that server is
// told so.
func (f *Forward) Call(ctx context.Context, call *backend.Call) (result rpc.RawMessage, err error) {
	switch {
	case call.Emit != nil:
		result, err = f.stream(ctx, call)
	case len(call.Params) > maxSharedParams:
		result, err = f.alone(ctx, call)
	default:
		result, err = f.shared(ctx, call)
	}
	if err == nil {
		return result, nil
	}
	return nil, f.failure(ctx, call, err)
}

// shared calls over a connection of the pool. One that has ended since its last
// call tells so only when it is used: what was not sent is sent again.
func (f *Forward) shared(ctx context.Context, call *backend.Call) (rpc.RawMessage, error) {
	for attempt := 0; ; attempt++ {
		c, fresh, err := f.pool.acquire(ctx)
		if err != nil {
			return nil, err
		}
		result, err := c.client.CallRaw(ctx, f.target, call.Params)
		f.pool.release(c)
		if err == nil || fresh || attempt == f.pool.settings.MaxConnections || !wasNotSent(ctx, err) {
			return result, err
		}
	}
}

// wasNotSent reports whether a call failed by its connection alone.
func wasNotSent(ctx context.Context, err error) bool {
	var failed *rpc.CallError
	var reply *rpc.Error
	return ctx.Err() == nil && errors.As(err, &failed) && failed.Executed == rpc.ExecutedNo && !errors.As(err, &reply)
}

func (f *Forward) alone(ctx context.Context, call *backend.Call) (rpc.RawMessage, error) {
	client, err := f.pool.private(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.CallRaw(ctx, f.target, call.Params)
}

// stream passes events on until the result.
func (f *Forward) stream(ctx context.Context, call *backend.Call) (rpc.RawMessage, error) {
	client, err := f.pool.private(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	stream, err := client.Stream(ctx, f.target, call.Params)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for {
		e, err := stream.Next(ctx)
		switch {
		case err == io.EOF:
			return stream.Result(), nil
		case err != nil:
			return nil, err
		}
		f.emit(call, e)
	}
}

func (f *Forward) emit(call *backend.Call, e rpc.StreamEvent) {
	name := f.event
	if name == "" {
		name = e.Method
	}
	params, err := backend.EventParams(e.Params, e.Lost)
	if err == nil {
		err = call.Emit(name, params)
	}
	if err != nil { // the stream has ended, or the event does not fit into it
		call.Log.WithError(err).Debug("an event is left out")
	}
}

// failure is what the caller reads of an error.
func (f *Forward) failure(ctx context.Context, call *backend.Call, err error) error {
	var refused *unavailable
	var failed *rpc.CallError
	var reply *rpc.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &refused):
		return call.Unavailable(rpc.ExecutedNo, refused.retry, err)
	case !errors.As(err, &failed):
		return call.Failed(rpc.ExecutedUnknown, err)
	case errors.As(failed.Err, &reply):
		return call.Relay(reply, failed.Executed)
	}
	return call.Failed(failed.Executed, err)
}
