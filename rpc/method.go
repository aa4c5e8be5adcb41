package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// RawMessage is one JSON text as it stands on the wire.
type RawMessage = json.RawMessage

// Handler answers the calls of one method.
//
// ServeRPC may run on several goroutines at once. It returns the result: nil
// (the client reads null), a RawMessage that is sent as it is, or a value that
// encodes as JSON; or an error, see Error. The context ends at the call's
// timeout, when the client cancels it, when the server gives up draining, and
// once the handler has returned and its reply is queued.
// The reply of a call that was cancelled or timed out is sent at once, and what
// its handler returns later is dropped; its slot stays taken until then.
//
// A handler runs first on the goroutine that reads its connection; if it takes
// longer than about a millisecond, another goroutine goes on reading. A panic
// in a handler answers CodeInternalError and is logged with its stack.
type Handler interface {
	ServeRPC(ctx context.Context, req *Request) (any, error)
}

// HandlerFunc makes a function a Handler.
type HandlerFunc func(ctx context.Context, req *Request) (any, error)

// ServeRPC calls f.
func (f HandlerFunc) ServeRPC(ctx context.Context, req *Request) (any, error) { return f(ctx, req) }

// RawFunc makes a function a Handler that answers with JSON text, as a HandlerFunc
// may: nil is null. To return text as any costs an allocation, which is about a
// quarter of what the server needs for a small call (BenchmarkCall).
type RawFunc func(ctx context.Context, req *Request) (RawMessage, error)

// ServeRPC calls f.
func (f RawFunc) ServeRPC(ctx context.Context, req *Request) (any, error) { return f(ctx, req) }

// StreamHandler answers the calls of a streaming method: it sends events and
// returns the result of the call, which ends the stream. Its context ends also
// when the client hangs up and when the server starts to drain. It runs on a
// goroutine of its own.
type StreamHandler func(ctx context.Context, req *Request, stream *Stream) (any, error)

// Request is one call or notification as a handler sees it.
type Request struct {
	Method string
	// Params is the params member: nil if it was absent or null, else an
	// object, or an array where the Method takes arrays. It is valid JSON
	// (RFC 8259, UTF-8 checked), must not be changed, and is only valid until
	// the handler returns.
	Params RawMessage
	// Notification is set for a request without an id: its result is dropped.
	Notification bool
	Peer         *Peer

	call *callContext
}

// ID returns the identifier under which the server logs this request. It is
// unique among the requests of all processes with overwhelming probability.
func (r *Request) ID() string {
	if r.call == nil {
		return ""
	}
	return r.call.requestID()
}

type requestKey struct{}

// RequestFromContext returns the request that a handler's context belongs to,
// or nil.
func RequestFromContext(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

// PeerFromContext returns the peer whose request a handler's context belongs
// to, or nil.
func PeerFromContext(ctx context.Context) *Peer {
	if r := RequestFromContext(ctx); r != nil {
		return r.Peer
	}
	return nil
}

// Method describes one method. It must not be changed once registered.
type Method struct {
	Name    string
	Summary string

	// Exactly one of Handler and Stream is set.
	Handler Handler
	Stream  StreamHandler

	// ParamNames are the names that an array of params is matched to, in their
	// order; the handler sees an object. A method without them, and without
	// TakesArray, refuses arrays with CodeInvalidParams. Typed fills them from
	// the fields of the parameter type.
	ParamNames []string
	// TakesArray hands an array of params to the handler as it is.
	TakesArray bool

	// ParamsSchema and ResultSchema are JSON Schemas (2020-12) for discovery;
	// nil if there is none. This package does not check them.
	ParamsSchema RawMessage
	ResultSchema RawMessage

	// Timeout bounds the handler; 0 means Limits.RequestTimeout. Streams have
	// no timeout unless one is set here.
	Timeout time.Duration

	// MaxConcurrent bounds the calls of this method that run at once; 0 means
	// that only Limits.MaxConcurrentRequests does. Further calls wait without a
	// slot, in the lines of their uids, up to Limits.QueueTimeout. Unlike other
	// calls that wait they do not hold up the start of those behind them on the
	// same connection.
	MaxConcurrent int

	// Control methods take no slot and no queue and answer while everything
	// else is saturated or draining. They should not wait for long: nothing but
	// MaxInFlightPerConnection bounds how many run at once.
	Control bool

	// CancelOnDisconnect ends the handler's context when the client hangs up.
	// Without it a call, once sent, runs to its end.
	CancelOnDisconnect bool

	// KeepsNothing says that once Handler has returned, neither it nor a
	// goroutine that it has started uses its context, its request, or what refers
	// to them, as a copy of the request does, and what context.WithValue and
	// context.WithoutCancel return. The server may then use both for the next
	// call instead of ending the context, and allocates them only once for many
	// calls: about a quarter of what it needs for a small one. Contexts that are
	// told of the end of another, as those of context.WithCancel and
	// context.WithTimeout, may be kept, and are told. It has no meaning for
	// streams.
	KeepsNothing bool

	// StreamQueueLength is the number of events that wait for a slow reader;
	// 0 means 256. Overflow says what happens at the bound.
	StreamQueueLength int
	Overflow          Overflow

	slowness slowness
}

// Overflow is what a stream does with an event that finds its queue full.
type Overflow int

const (
	// DropOldest discards the oldest event; the next one that is delivered
	// says in its "lost" member how many there were.
	DropOldest Overflow = iota
	// EndStream ends the call with CodeResourceExhausted.
	EndStream
)

const defaultStreamQueueLength = 256

// reservedPrefix marks method names that belong to the server (JSON-RPC 2.0,
// section 4.3).
const reservedPrefix = "rpc."

// Methods is a set of methods by name, for one or more servers. The zero value
// is empty and ready to use. Its methods may be called from any goroutine,
// also while a server uses it.
type Methods struct {
	mu     sync.Mutex                         // held to change byName
	byName atomic.Pointer[map[string]*Method] // what it points to never changes
}

// Register adds m. Names that start with "rpc." are refused: they belong to
// the server, see RegisterExtension.
func (ms *Methods) Register(m *Method) error {
	if strings.HasPrefix(m.Name, reservedPrefix) {
		return fmt.Errorf("rpc: method %q: names that start with %q are reserved (JSON-RPC 2.0, section 4.3); choose another", m.Name, reservedPrefix)
	}
	return ms.add(m)
}

// RegisterExtension adds a method of the protocol itself, whose name starts
// with "rpc.". rpc.cancel is built in and can not be replaced.
func (ms *Methods) RegisterExtension(m *Method) error {
	if !strings.HasPrefix(m.Name, reservedPrefix) {
		return fmt.Errorf("rpc: extension %q: expected a name that starts with %q", m.Name, reservedPrefix)
	}
	if isCancel(m.Name) {
		return fmt.Errorf("rpc: extension %q is built in", m.Name)
	}
	return ms.add(m)
}

// Handle registers h under name and panics where Register would fail, for use
// in a program's own wiring.
func (ms *Methods) Handle(name string, h Handler) {
	if err := ms.Register(&Method{Name: name, Handler: h}); err != nil {
		panic(err)
	}
}

func (ms *Methods) add(m *Method) error {
	if m.Name == "" {
		return fmt.Errorf("rpc: a method without a name")
	}
	if (m.Handler == nil) == (m.Stream == nil) {
		return fmt.Errorf("rpc: method %q: expected exactly one of Handler and Stream", m.Name)
	}
	if m.Control && m.Stream != nil {
		return fmt.Errorf("rpc: method %q: a stream can not be a control method", m.Name)
	}
	if m.Timeout < 0 || m.StreamQueueLength < 0 || m.MaxConcurrent < 0 {
		return fmt.Errorf("rpc: method %q: Timeout is %s, StreamQueueLength %d and MaxConcurrent %d, expected none below 0",
			m.Name, m.Timeout, m.StreamQueueLength, m.MaxConcurrent)
	}
	if m.MaxConcurrent > 0 && (m.Control || m.Stream != nil) {
		return fmt.Errorf("rpc: method %q: MaxConcurrent is for methods that take a slot, not for control methods and streams", m.Name)
	}
	if t, ok := m.Handler.(typed); ok && m.ParamNames == nil {
		m.ParamNames = t.paramNames()
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	old := ms.all()
	if old[m.Name] != nil {
		return fmt.Errorf("rpc: method %q is registered already", m.Name)
	}
	next := make(map[string]*Method, len(old)+1)
	maps.Copy(next, old)
	next[m.Name] = m
	ms.byName.Store(&next)
	return nil
}

func (ms *Methods) all() map[string]*Method {
	if m := ms.byName.Load(); m != nil {
		return *m
	}
	return nil
}

// Lookup returns the method of that name, or nil.
func (ms *Methods) Lookup(name string) *Method { return ms.all()[name] }

// lookup is what was found by a look at a set of methods. Most clients call the same
// method many times.
type lookup struct {
	in     *map[string]*Method // of Methods.byName
	method *Method
}

// find is Lookup, after what was found the last time.
func (l *lookup) find(ms *Methods, name []byte) *Method {
	in := ms.byName.Load()
	if in == nil {
		return nil
	}
	if l.in != in || l.method.Name != string(name) {
		method := (*in)[string(name)]
		if method == nil {
			return nil
		}
		l.in, l.method = in, method
	}
	return l.method
}

// List returns the methods in the order of their names.
func (ms *Methods) List() []*Method {
	return slices.SortedFunc(maps.Values(ms.all()), func(a, b *Method) int { return strings.Compare(a.Name, b.Name) })
}
