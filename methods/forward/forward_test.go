package forward

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

// longWait is how long what must happen may take. Nothing passes by waiting.
const longWait = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// other is the server that calls are forwarded to.
type other struct {
	t      testing.TB
	path   string
	server *rpc.Server
	served chan error
	accept atomic.Int32 // connections so far
	ran    atomic.Int32 // calls of "mark"
	cancel chan error   // why "wait" ended
	wait   chan struct{}
}

func newOther(t testing.TB) *other {
	dir, err := os.MkdirTemp("", "fw") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &other{t: t, path: filepath.Join(dir, "s"), cancel: make(chan error, 100), wait: make(chan struct{}, 100)}
}

type counting struct {
	net.Listener
	n *atomic.Int32
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

func (o *other) start() *other {
	o.t.Helper()
	methods := new(rpc.Methods)
	methods.Handle("echo", rpc.HandlerFunc(func(_ context.Context, r *rpc.Request) (any, error) { return r.Params, nil }))
	methods.Handle("mark", rpc.HandlerFunc(func(context.Context, *rpc.Request) (any, error) { return o.ran.Add(1), nil }))
	methods.Handle("refuse", rpc.HandlerFunc(func(_ context.Context, r *rpc.Request) (any, error) {
		var e rpc.Error
		require.NoError(o.t, json.Unmarshal(r.Params, &e))
		return nil, &rpc.Error{Code: e.Code, Message: "no", Data: &rpc.ErrorData{Reason: "because", Executed: rpc.ExecutedNo, RequestID: "theirs"}}
	}))
	methods.Handle("wait", rpc.HandlerFunc(func(ctx context.Context, _ *rpc.Request) (any, error) {
		o.wait <- struct{}{}
		<-ctx.Done()
		o.cancel <- context.Cause(ctx)
		return nil, ctx.Err()
	}))
	require.NoError(o.t, methods.Register(&rpc.Method{Name: "ticks", Stream: func(ctx context.Context, _ *rpc.Request, s *rpc.Stream) (any, error) {
		for n := range 3 {
			if err := s.Send("tick", map[string]int{"n": n}); err != nil {
				return nil, err
			}
		}
		return "ticked", nil
	}}))
	require.NoError(o.t, methods.Register(&rpc.Method{Name: "endless", Stream: func(ctx context.Context, _ *rpc.Request, s *rpc.Stream) (any, error) {
		_ = s.Send("begun", nil)
		<-ctx.Done()
		o.cancel <- context.Cause(ctx)
		return nil, ctx.Err()
	}}))
	l, err := net.Listen("unix", o.path)
	require.NoError(o.t, err)
	o.server, o.served = &rpc.Server{Methods: methods}, make(chan error, 1)
	server, served := o.server, o.served
	go func() { served <- server.Serve(counting{l, &o.accept}) }()
	o.t.Cleanup(o.stop)
	return o
}

func (o *other) stop() {
	if o.server != nil {
		_ = o.server.Close()
		require.ErrorIs(o.t, <-o.served, rpc.ErrServerClosed)
		o.server = nil
	}
}

// method is one that is forwarded, as a caller sees it.
type method struct {
	t testing.TB
	*Forward
}

func forwardTo(t testing.TB, settings Settings, sockets *Sockets, target string) *method {
	t.Helper()
	var findings definition.Findings
	log := logrus.New()
	log.SetOutput(t.Output())
	m := &definition.Method{Elsewhere: definition.Elsewhere{Target: target}}
	f := sockets.New(m, withDefaults(settings), log, &findings)
	require.Empty(t, findings)
	return &method{t, f}
}

// one is a method with a pool of its own, which is closed with the test.
func (o *other) one(target string) *method {
	m := forwardTo(o.t, Settings{Socket: o.path}, new(Sockets), target)
	o.t.Cleanup(m.Close)
	return m
}

func (m *method) call(ctx context.Context, params string, emit func(string, any) error) (string, error) {
	log := logrus.New()
	log.SetOutput(m.t.Output())
	result, err := m.Call(ctx, &backend.Call{Method: "m", Params: rpc.RawMessage(params), RequestID: "ours", Peer: &rpc.Peer{}, Emit: emit, Log: logrus.NewEntry(log)})
	return string(result), err
}

func (m *method) ask(params string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longWait)
	defer cancel()
	result, err := m.call(ctx, params, nil)
	require.NoError(m.t, err)
	return result
}

func (m *method) fail(params string) (code int, data rpc.ErrorData) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longWait)
	defer cancel()
	_, err := m.call(ctx, params, nil)
	return wire(m.t, err)
}

func wire(t testing.TB, err error) (code int, data rpc.ErrorData) {
	t.Helper()
	var e *rpc.Error
	require.ErrorAs(t, err, &e)
	if d, ok := e.Data.(*rpc.ErrorData); ok {
		return e.Code, *d
	}
	raw, marshalErr := json.Marshal(e.Data)
	require.NoError(t, marshalErr)
	require.NoError(t, json.Unmarshal(raw, &data))
	return e.Code, data
}

func TestCallsShareConnections(t *testing.T) {
	o := newOther(t).start()
	m := o.one("echo")
	for n := range 100 {
		params := fmt.Sprintf(`{"n":%d}`, n)
		require.Equal(t, params, m.ask(params))
	}
	require.EqualValues(t, 1, o.accept.Load())
	large := `{"text":"` + strings.Repeat("x", 1<<20) + `"}`
	require.Equal(t, large, m.ask(large))
	require.EqualValues(t, 2, o.accept.Load(), "large params go alone")

	ctx, cancel := context.WithCancel(t.Context())
	waiting := forwardTo(t, Settings{Socket: o.path}, new(Sockets), "wait")
	var calls sync.WaitGroup
	for range 40 {
		calls.Go(func() { _, _ = waiting.call(ctx, "{}", nil) })
		<-o.wait
	}
	require.LessOrEqual(t, o.accept.Load(), int32(2+DefaultMaxConnections))
	require.Greater(t, o.accept.Load(), int32(3), "many calls take more than one")
	cancel()
	calls.Wait()
	waiting.Close()
}

func TestErrorsArePassedOnAsFarAsTheyAreForTheCaller(t *testing.T) {
	o := newOther(t).start()
	m := o.one("refuse")
	for _, test := range []struct{ sent, code int }{
		{-32000, -32000}, {-32602, -32602}, {-32001, -32001}, {-32010, -32010},
		{-32601, -32603}, {-32006, -32603}, {-32603, -32603}, {-32003, -32603},
	} {
		code, data := m.fail(fmt.Sprintf(`{"code":%d}`, test.sent))
		require.Equal(t, test.code, code, "%+v", test)
		require.Equal(t, rpc.ExecutedNo, data.Executed, "%+v: who refused it knows", test)
		if test.sent != -32000 && test.sent != -32602 { // those are the other server's alone
			require.Equal(t, "ours", data.RequestID, "%+v", test)
		}
	}
	code, data := o.one("no.such.method").fail("{}")
	require.Equal(t, rpc.CodeInternalError, code, "that it is not there is no news for the caller")
	require.Equal(t, rpc.ExecutedNo, data.Executed)
}

func TestEventsOfAStreamArePassedOnBeforeItsResult(t *testing.T) {
	o := newOther(t).start()
	var events []string
	result, err := o.one("ticks").call(t.Context(), "{}", func(name string, params any) error {
		events = append(events, name+string(params.(rpc.RawMessage)))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, `"ticked"`, result)
	require.Equal(t, []string{`tick{"n":0}`, `tick{"n":1}`, `tick{"n":2}`}, events)
}

func TestACancelIsPassedOn(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(map[bool]string{false: "call", true: "stream"}[stream], func(t *testing.T) {
			o := newOther(t).start()
			ctx, cancel := context.WithCancelCause(t.Context())
			cause := rpc.Errorf(rpc.CodeCancelled, "by the test")
			var emit func(string, any) error
			m := o.one("wait")
			if stream {
				m = o.one("endless")
				emit = func(string, any) error {
					o.wait <- struct{}{}
					return nil
				}
			}
			answered := make(chan error, 1)
			go func() {
				_, err := m.call(ctx, "{}", emit)
				answered <- err
			}()
			<-o.wait
			cancel(cause)
			require.Equal(t, error(cause), <-answered)
			require.Error(t, <-o.cancel)
		})
	}
}

func TestWhatWasSentToAServerThatGoesMayHaveBeenExecuted(t *testing.T) {
	o := newOther(t).start()
	m := o.one("wait")
	answered := make(chan error, 1)
	go func() {
		_, err := m.call(context.Background(), "{}", nil)
		answered <- err
	}()
	<-o.wait
	o.stop()
	code, data := wire(t, <-answered)
	require.Equal(t, rpc.CodeInternalError, code)
	require.Equal(t, rpc.ExecutedUnknown, data.Executed)
}

func TestAServerThatComesBackIsFoundAgain(t *testing.T) {
	o := newOther(t)
	m := o.one("mark")
	code, data := m.fail("{}")
	require.Equal(t, rpc.CodeInternalError, code)
	require.Equal(t, "unavailable", data.Reason)
	require.Equal(t, rpc.ExecutedNo, data.Executed)
	require.Equal(t, minPause.Milliseconds(), data.RetryAfterMS)
	o.start()
	var told rpc.ErrorData
	require.Eventually(t, func() bool {
		_, err := m.call(t.Context(), "{}", nil)
		if err != nil {
			_, told = wire(t, err)
		}
		return err == nil
	}, longWait, time.Millisecond)
	require.Equal(t, rpc.ExecutedNo, told.Executed)
	for range 20 { // with a connection that the server closes between two calls
		o.stop()
		o.start()
		before := o.ran.Load()
		_, err := m.call(t.Context(), "{}", nil)
		if err != nil { // it was sent, into a connection that had been closed
			_, data := wire(t, err)
			if data.Executed == rpc.ExecutedNo {
				require.Equal(t, before, o.ran.Load())
			}
			continue
		}
		require.Equal(t, before+1, o.ran.Load(), "once, not twice")
	}
}

func TestFailuresToConnectAreTriedLessAndLessOften(t *testing.T) {
	p := newPool(withDefaults(Settings{Socket: "/nowhere"}), logrus.New())
	p.log.(*logrus.Entry).Logger.SetOutput(t.Output())
	dials := 0
	p.dial = func(context.Context, string) (*rpc.Client, error) {
		dials++
		return nil, errors.New("it is not there")
	}
	var pauses []time.Duration
	for range 10 {
		_, _, err := p.acquire(t.Context())
		var refused *unavailable
		require.ErrorAs(t, err, &refused)
		pauses = append(pauses, refused.retry)
		_, _, err = p.acquire(t.Context())
		require.ErrorIs(t, err, errPaused)
		p.mu.Lock()
		p.notBefore = time.Time{} // the pause is over
		p.mu.Unlock()
	}
	require.Equal(t, 10, dials)
	require.Equal(t, []time.Duration{minPause, 2 * minPause, 4 * minPause}, pauses[:3])
	require.Equal(t, maxPause, pauses[9])
	require.Zero(t, p.active)
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	o := newOther(t).start()
	m := forwardTo(t, Settings{Socket: o.path, IdleTimeout: 20 * time.Millisecond}, new(Sockets), "echo")
	defer m.Close()
	require.Equal(t, "{}", m.ask("{}"))
	require.Eventually(t, func() bool { return o.server.Stats().Connections == 0 }, longWait, time.Millisecond,
		"a server that ends when nobody is connected can end")
	require.Equal(t, "{}", m.ask("{}"))
}

func TestAPoolEndsWithItsLastCall(t *testing.T) {
	o := newOther(t).start()
	sockets := new(Sockets)
	settings := Settings{Socket: o.path, IdleTimeout: time.Hour}
	echo, wait := forwardTo(t, settings, sockets, "echo"), forwardTo(t, settings, sockets, "wait")
	require.Same(t, echo.pool, wait.pool)
	echo.ask("{}")
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := wait.call(ctx, "{}", nil)
		answered <- err
	}()
	<-o.wait
	echo.Close()
	wait.Close()
	select {
	case err := <-answered:
		t.Fatalf("a reload dropped a call: %v", err)
	default:
	}
	require.NotZero(t, o.server.Stats().Connections)
	cancel()
	require.ErrorIs(t, <-answered, context.Canceled)
	require.Eventually(t, func() bool { return o.server.Stats().Connections == 0 }, longWait, time.Millisecond)
}

// A server of before, that knows neither "subscription" nor a second stream on a
// connection.
func TestEventsThatNameNoStreamFindTheirs(t *testing.T) {
	o := newOther(t)
	l, err := net.Listen("unix", o.path)
	require.NoError(t, err)
	defer l.Close()
	var servers sync.WaitGroup
	defer servers.Wait()
	for range 3 {
		servers.Go(func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			lines := bufio.NewReader(c)
			line, err := lines.ReadBytes('\n')
			var r struct {
				ID     json.RawMessage
				Params struct{ Name string }
			}
			if err != nil || json.Unmarshal(line, &r) != nil {
				return
			}
			for range 3 {
				fmt.Fprintf(c, `{"jsonrpc":"2.0","method":"progress","params":{"job":%q}}`+"\n", r.Params.Name)
			}
			fmt.Fprintf(c, `{"jsonrpc":"2.0","id":%s,"result":%q}`+"\n", r.ID, r.Params.Name)
			_, _ = lines.ReadByte()
		})
	}
	m := o.one("job.watch")
	var calls sync.WaitGroup
	for _, job := range []string{"a", "b", "c"} {
		calls.Go(func() {
			var events []string
			result, err := m.call(t.Context(), fmt.Sprintf(`{"name":%q}`, job), func(name string, params any) error {
				events = append(events, string(params.(rpc.RawMessage)))
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, `"`+job+`"`, result)
			event := `{"job":"` + job + `"}`
			require.Equal(t, []string{event, event, event}, events)
		})
	}
	calls.Wait()
}
