package operator

import (
	"context"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/outside"
	"github.com/marianned/marianned/rpc"
)

// Execute answers a call that the daemon has taken and that is run outside of it:
// an outside.Executor, for a set that was loaded with Outside.Here. It trusts the
// daemon for who calls, and decides all else itself.
func (s *Set) Execute(ctx context.Context, request outside.Request, emit func(string, any) error) (rpc.RawMessage, error) {
	m := s.methods[request.Method]
	peer := request.Peer.RPC()
	switch {
	case m == nil:
		return nil, rpc.Errorf(rpc.CodeMethodNotFound, "no file defines the method %q", request.Method)
	case !m.definition.Outside() || m.definition.Exec == nil:
		// It would run with more rights than its author gave it.
		return nil, rpc.Errorf(rpc.CodeNotAuthorized, "the method %q runs in the daemon, not outside of it", request.Method)
	case m.definition.Stream != (emit != nil):
		return nil, rpc.Errorf(rpc.CodeInvalidRequest, "the method %q is a stream: %t, asked for: %t", request.Method, m.definition.Stream, emit != nil)
	}
	if d := m.policy.Decide(peer); !d.Allowed {
		s.denials.report(peer, request.Method, d)
		return nil, rpc.Errorf(rpc.CodeNotAuthorized, "uid %d may not call %q", peer.UID, request.Method)
	}
	if timeout := m.definition.Timeout.Duration(); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return m.run(ctx, request.Params, &backend.Call{Method: request.Method, RequestID: request.RequestID, Peer: peer, Emit: emit})
}
