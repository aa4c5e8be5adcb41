package load

import (
	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

// session is the client's end of one connection.
type session interface {
	// send returns the bytes of the next n calls, which are valid until the
	// next send. n may be 0: a session may have something of its own to say.
	send(n int, now int64) ([]byte, error)
	// receive takes all of what was read, in, and returns how many replies
	// ended in it. All of them were right, or there is an error.
	receive(in []byte, now int64) (replies int, err error)
	// inFlight is the number of calls without a reply.
	inFlight() int
}

// script is what the sessions of one run share: it is not changed.
type script struct {
	w       *workload.Workload
	dialect servers.Dialect
	calls   *workload.Tape
	replies *workload.Tape
}

func newScript(w *workload.Workload, d servers.Dialect) *script {
	return &script{
		w: w, dialect: d,
		calls:   workload.NewTape(w, func(slot int) []byte { return d.Call(w, slot) }),
		replies: workload.NewTape(w, func(slot int) []byte { return d.Reply(w, slot) }),
	}
}

// newSession begins a connection of a worker.
func (s *script) newSession(worker *worker) session {
	switch s.dialect {
	case servers.HTTP:
		return newHTTP(s, worker)
	case servers.GRPC:
		return newGRPC(s, worker)
	default:
		return newLines(s, worker)
	}
}
