package outside

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/rpc"
)

// Executor runs a call after it has looked at everything itself. emit is nil for a
// call that is no stream.
type Executor func(ctx context.Context, request Request, emit func(event string, params any) error) (rpc.RawMessage, error)

// requestPatience is how long the daemon may take to say what it wants: it
// connects for one call.
const requestPatience = 10 * time.Second

// Serve answers one call on a connection, whose other end must belong to one of
// some uids, and returns when that call has ended and was answered, the
// connection has ended, or ctx has. What runs then has been ended.
func Serve(ctx context.Context, conn net.Conn, uids []uint32, execute Executor, log logrus.FieldLogger) error {
	peer, err := rpc.PeerOf(conn)
	if err != nil {
		_ = conn.Close() // err says more
		return err
	}
	s := &session{execute: execute, over: make(chan struct{})}
	server := &rpc.Server{
		Methods: new(rpc.Methods),
		Logger:  log,
		Limits: rpc.Limits{
			MaxMessageBytes: maxMessageBytes, MaxBufferedBytes: 2 * maxMessageBytes,
			MaxConcurrentRequests: 1, MaxConnections: 1, FrameTimeout: requestPatience,
			RequestTimeout: forever, IdleTimeout: requestPatience,
		},
		Authorize: func(p *rpc.Peer, m *rpc.Method) error {
			if !slices.Contains(uids, p.UID) {
				return rpc.Errorf(rpc.CodeNotAuthorized, "uid %d does not run the daemon: nothing is run for it", p.UID)
			}
			return nil
		},
	}
	// A caller who has gone, or whose daemon has, wants nothing any more.
	for _, m := range []*rpc.Method{
		{Name: methodRun, Handler: rpc.HandlerFunc(s.run), CancelOnDisconnect: true},
		{Name: methodStream, Stream: s.stream},
	} {
		if err := server.Methods.Register(m); err != nil {
			return err
		}
	}
	// Not when the handler returns: the drain, which cuts streams off, would overtake
	// its result.
	stop := server.Monitor(func(e rpc.Event) {
		if e.Kind == rpc.EventConnectionClosed || e.Method == methodRun || e.Method == methodStream {
			s.end()
		}
	})
	defer stop()
	server.Adopt(rpc.Kept{Conn: conn, Peer: peer})
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	select {
	case <-s.over:
	case <-ctx.Done():
		cancel() // cuts the call off
	}
	err = server.Shutdown(ending)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// forever is for what the method itself, or the daemon, has a limit for.
const forever = 365 * 24 * time.Hour

// session is the life of one connection. It ends with the answer to its first call.
type session struct {
	execute Executor
	once    sync.Once
	over    chan struct{}
}

func (s *session) end() { s.once.Do(func() { close(s.over) }) }

func (s *session) run(ctx context.Context, req *rpc.Request) (any, error) {
	return s.answer(ctx, req, nil)
}

func (s *session) stream(ctx context.Context, req *rpc.Request, stream *rpc.Stream) (any, error) {
	return s.answer(ctx, req, stream.Send)
}

func (s *session) answer(ctx context.Context, req *rpc.Request, emit func(string, any) error) (any, error) {
	var request Request
	if err := json.Unmarshal(req.Params, &request, json.RejectUnknownMembers(true)); err != nil {
		return nil, rpc.Errorf(rpc.CodeInvalidRequest, "the request: %v", err)
	}
	if request.RequestID == "" || bytes.ContainsAny([]byte(request.RequestID), "\x00\n") {
		return nil, rpc.Errorf(rpc.CodeInvalidRequest, "request_id is %q, expected the name of a call", request.RequestID)
	}
	result, err := s.execute(ctx, request, emit)
	if err != nil {
		return nil, err
	}
	if len(result) == 0 {
		return nil, fmt.Errorf("%s has no result", request.Method)
	}
	return result, nil
}
