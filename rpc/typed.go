package rpc

import (
	"context"
	"reflect"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
)

// NoParams is the parameter type of methods that take none: an object without
// members, or no params at all.
type NoParams struct{}

// Typed makes a Handler of a function over Go types. Params are decoded as
// encoding/json would, with three differences that keep a caller from smuggling
// a value past a check: member names match by exact case, a duplicate name is
// an error, and so is a name that P does not have. A caller's mistake is
// answered with CodeInvalidParams and what was wrong; absent params leave P at
// its zero value. An array of params is matched to the fields of P in their
// order.
//
// The request and its peer are in the context: RequestFromContext,
// PeerFromContext.
func Typed[P, R any](f func(ctx context.Context, params P) (R, error)) Handler {
	return &typedHandler[P, R]{f: f, names: fieldNames(reflect.TypeFor[P]()),
		read: directOf(reflect.TypeFor[P]()), write: directOf(reflect.TypeFor[R]())}
}

// typed is a Handler of Typed.
type typed interface {
	paramNames() []string
	run(*call) (RawMessage, error)
}

type typedHandler[P, R any] struct {
	f           func(context.Context, P) (R, error)
	names       []string
	read, write direct
	values      sync.Pool // of *typedValues[P, R]
}

// typedValues are those of one call, and zero between two. Reflection needs them on
// the heap, but not for longer than the call: f has copies.
type typedValues[P, R any] struct {
	params P
	result R
	text   []byte     // where a short result is written
	pool   *sync.Pool // of the handler
}

// free makes the values another call's. The text of the result is not needed any more.
func (v *typedValues[P, R]) free() { v.pool.Put(v) }

// freer is what a call keeps for the next.
type freer interface{ free() }

func (h *typedHandler[P, R]) paramNames() []string { return h.names }

func (h *typedHandler[P, R]) ServeRPC(ctx context.Context, req *Request) (any, error) {
	var params P
	if err := DecodeParams(req.Params, &params); err != nil {
		return nil, err
	}
	result, err := h.f(ctx, params)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// run is ServeRPC for the server itself, which encodes the result next.
func (h *typedHandler[P, R]) run(c *call) (raw RawMessage, err error) {
	v := h.take(c)
	if len(c.req.Params) > 0 && !readDirectly(h.read, c.req.Params, reflect.ValueOf(&v.params).Elem()) {
		err = decodeByLibrary(c.req.Params, &v.params)
	}
	if err == nil {
		v.result, err = h.f(c.callContext, v.params)
	}
	if err == nil && !c.silent {
		if e, ok := writeDirectly(h.write, reflect.ValueOf(&v.result).Elem(), &v.text); ok {
			raw, err = c.take(e)
		} else {
			raw, err = c.encode(v.result)
		}
	}
	v.params, v.result = *new(P), *new(R)
	c.values = v // until the reply has been copied
	return raw, err
}

// take returns values for a call, those of the call before if they are of this handler.
// After a panic they are not used again.
func (h *typedHandler[P, R]) take(c *call) *typedValues[P, R] {
	v, ok := c.values.(*typedValues[P, R])
	if !ok || v.pool != &h.values {
		c.freeValues()
		if v, ok = h.values.Get().(*typedValues[P, R]); !ok {
			v = &typedValues[P, R]{pool: &h.values}
		}
	}
	c.values = nil
	return v
}

// DecodeParams decodes params into the value that p points to, by the rules of
// Typed. Its error is an Error with CodeInvalidParams.
func DecodeParams(params RawMessage, p any) error {
	if len(params) == 0 {
		return nil
	}
	if readDirectlyTo(p, params) {
		return nil
	}
	return decodeByLibrary(params, p)
}

func decodeByLibrary(params RawMessage, p any) error {
	if err := json.Unmarshal(params, p, decodeOptions); err != nil {
		return Errorf(CodeInvalidParams, "invalid params: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// fieldNames returns the JSON names of a struct type's exported fields, in
// order; nil for other types, whose params have no names.
func fieldNames(t reflect.Type) []string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case f.Anonymous && name == "":
			names = append(names, fieldNames(f.Type)...)
		case name == "":
			names = append(names, f.Name)
		default:
			names = append(names, name)
		}
	}
	return names
}

var decodeOptions = json.RejectUnknownMembers(true)
