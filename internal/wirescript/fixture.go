package wirescript

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/marianned/marianned/rpc"
)

// Fixture returns the methods that scripts with "needs: fixture" call: those of
// the examples in section 7 of the JSON-RPC 2.0 specification, rpc.ping and
// rpc.echo as the daemon has them, and
//
//	slow      waits for its cancel, or for release
//	release   waits for params.held slow calls, and lets all there are end, with
//	          the result "released"
//	nothing   returns no value
//	fail      fails with a text that must not leave the server
//	refuse    fails with an error object of its own
//	panic     panics
//	blow      returns a string of params.bytes times "x"
//	count     a stream of {"n":1} … {"n":params.n}, then its number of events
//	watch     a stream of one event that ends when it is cancelled
func Fixture() (*rpc.Methods, error) {
	ms := new(rpc.Methods)
	var gate gate
	list := []*rpc.Method{
		{Name: "subtract", Handler: rpc.Typed(subtract)},
		{Name: "sum", Handler: rpc.HandlerFunc(sum), TakesArray: true},
		{Name: "update", Handler: rpc.HandlerFunc(nothing), TakesArray: true},
		{Name: "notify_hello", Handler: rpc.HandlerFunc(nothing), TakesArray: true},
		{Name: "notify_sum", Handler: rpc.HandlerFunc(nothing), TakesArray: true},
		{Name: "get_data", Handler: rpc.HandlerFunc(getData)},
		{Name: "slow", Handler: &gate},
		{Name: "release", Handler: rpc.Typed(gate.release), Control: true},
		{Name: "nothing", Handler: rpc.HandlerFunc(nothing)},
		{Name: "fail", Handler: rpc.HandlerFunc(fail)},
		{Name: "refuse", Handler: rpc.HandlerFunc(refuse)},
		{Name: "panic", Handler: rpc.HandlerFunc(func(context.Context, *rpc.Request) (any, error) { panic("a secret") })},
		{Name: "blow", Handler: rpc.Typed(blow)},
		{Name: "count", Stream: count},
		{Name: "watch", Stream: watch},
	}
	for _, m := range list {
		if err := ms.Register(m); err != nil {
			return nil, err
		}
	}
	for _, m := range []*rpc.Method{
		{Name: "rpc.ping", Control: true, Handler: rpc.HandlerFunc(ping)},
		{Name: "rpc.echo", TakesArray: true, Handler: rpc.HandlerFunc(echo)},
	} {
		if err := ms.RegisterExtension(m); err != nil {
			return nil, err
		}
	}
	return ms, nil
}

func subtract(_ context.Context, p struct {
	Minuend    int `json:"minuend"`
	Subtrahend int `json:"subtrahend"`
}) (int, error) {
	return p.Minuend - p.Subtrahend, nil
}

func sum(_ context.Context, req *rpc.Request) (any, error) {
	var list []int
	if err := rpc.DecodeParams(req.Params, &list); err != nil {
		return nil, err
	}
	total := 0
	for _, n := range list {
		total += n
	}
	return total, nil
}

func getData(context.Context, *rpc.Request) (any, error) {
	return json.RawMessage(`["hello",5]`), nil
}
func nothing(context.Context, *rpc.Request) (any, error)    { return nil, nil }
func ping(context.Context, *rpc.Request) (any, error)       { return "pong", nil }
func echo(_ context.Context, req *rpc.Request) (any, error) { return req.Params, nil }
func fail(context.Context, *rpc.Request) (any, error)       { return nil, errors.New("a secret") }
func refuse(context.Context, *rpc.Request) (any, error) {
	return nil, &rpc.Error{Code: -32000, Message: "out of paper", Data: map[string]int{"tray": 2}}
}

func blow(_ context.Context, p struct {
	Bytes int `json:"bytes"`
}) (string, error) {
	return strings.Repeat("x", p.Bytes), nil
}

func count(_ context.Context, req *rpc.Request, s *rpc.Stream) (any, error) {
	var p struct {
		N int `json:"n"`
	}
	if err := rpc.DecodeParams(req.Params, &p); err != nil {
		return nil, err
	}
	for i := range p.N {
		if err := s.Send("counted", map[string]int{"n": i + 1}); err != nil {
			return nil, err
		}
	}
	return p.N, nil
}

func watch(ctx context.Context, _ *rpc.Request, s *rpc.Stream) (any, error) {
	if err := s.Send("watching", nil); err != nil {
		return nil, err
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// gate holds slow calls until release.
type gate struct {
	mu   sync.Mutex
	held []chan struct{} // of each call, closed to let it end
	more chan struct{}   // closed when one more is held, if a release waits for it
}

func (g *gate) ServeRPC(ctx context.Context, _ *rpc.Request) (any, error) {
	open := g.hold()
	select {
	case <-open:
		return "released", nil
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		g.held = slices.DeleteFunc(g.held, func(held chan struct{}) bool { return held == open })
		return nil, ctx.Err()
	}
}

func (g *gate) hold() (open chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	open = make(chan struct{})
	g.held = append(g.held, open)
	if g.more != nil {
		close(g.more)
		g.more = nil
	}
	return open
}

func (g *gate) release(ctx context.Context, p struct {
	Held int `json:"held"`
}) (int, error) {
	for {
		g.mu.Lock()
		if n := len(g.held); n >= p.Held {
			for _, open := range g.held {
				close(open)
			}
			g.held = nil
			g.mu.Unlock()
			return n, nil
		}
		if g.more == nil {
			g.more = make(chan struct{})
		}
		more := g.more
		g.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
