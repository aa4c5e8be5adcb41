// Package backend is the seam between an operator's method as its callers see
// it and what answers it: a program per call, a worker, or another socket.
//
//	rpc.Server ─> methods/operator: policy, schema, defaults ─> Backend.Call ─┬─ methods/program
//	   ^                                                                      └─ …
//	   └── events (Call.Emit), then the result or an error
package backend

import (
	"context"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/rpc"
)

// Backend answers the calls of one method. Several may share what stands behind
// them, a worker for example.
type Backend interface {
	// Call answers one call, on any of several goroutines at once. It returns
	// soon after ctx has ended, and nothing of the call is left running then.
	//
	// An *rpc.Error reaches the caller as it is. Any other error is logged and
	// reaches it as an internal one that may have been executed; see Failed.
	Call(ctx context.Context, call *Call) (rpc.RawMessage, error)

	// Close is called once, when no further call will come. It does not wait:
	// calls that run are ended by their contexts, and what is kept between calls
	// goes when the last of them has ended.
	Close()
}

// Call is one call whose params fit the schema of its method.
type Call struct {
	Method string
	// Params is an object, the defaults of absent members filled in: UTF-8, no
	// name twice. It must not be changed, and is valid until Call returns.
	Params rpc.RawMessage
	// Values are the members of Params: string, json.Number (as it was written),
	// bool, nil, []any or map[string]any.
	Values map[string]any
	// Secret says that a sensitive parameter is among them: what somebody else
	// says of the call may repeat it, and is kept from the log.
	Secret bool
	// RequestID names the call in logs.
	RequestID string
	Peer      *rpc.Peer
	// Emit sends an event to the caller: its params are an object. It does not
	// wait. It fails when the stream has ended, which ctx says too. nil for a
	// method that is no stream.
	Emit func(event string, params any) error
	// Log has the method, the request and the caller.
	Log *logrus.Entry
}

// Failed returns an error that tells the caller no more than that something is
// wrong here, and whether the call may be sent again. The cause is for the log
// alone, which this writes.
func (c *Call) Failed(executed rpc.Executed, cause error) *rpc.Error {
	c.Log.WithError(cause).Error("call failed")
	return &rpc.Error{
		Code:    rpc.CodeInternalError,
		Message: "internal error; the server's log has the cause under the request id",
		Data:    &rpc.ErrorData{Reason: "internal", Executed: executed, RequestID: c.RequestID},
	}
}
