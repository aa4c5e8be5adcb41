package program

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/rpc"
)

// Call runs the program once.
func (p *Program) Call(ctx context.Context, call *backend.Call) (rpc.RawMessage, error) {
	argv, err := p.argv(call.Values)
	var problems schema.Problems
	switch {
	case errors.As(err, &problems):
		return nil, problems.InvalidParams()
	case err != nil:
		return nil, call.Failed(rpc.ExecutedNo, err)
	}
	if !p.processes.begin() {
		return nil, &rpc.Error{Code: rpc.CodeShuttingDown, Message: "the server is shutting down",
			Data: &rpc.ErrorData{Reason: rpc.ReasonShuttingDown, Scope: "server", Executed: rpc.ExecutedNo}}
	}
	r := &run{program: p, call: call}
	err = r.start(argv)
	defer func() { p.processes.end(r.process) }()
	switch {
	case errors.Is(err, unix.E2BIG):
		return nil, rpc.Errorf(rpc.CodeInvalidParams, "invalid params: all arguments together are too long for a program")
	case err != nil:
		return nil, call.Failed(rpc.ExecutedNo, fmt.Errorf("start %s: %w", p.path, err))
	}
	stop := context.AfterFunc(ctx, r.process.stop)
	status, err := r.wait()
	stop()
	r.logStderr(status)
	switch {
	case err != nil:
		return nil, call.Failed(rpc.ExecutedUnknown, err)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return r.outcome(status)
}

// environ returns the environment of one call.
func (p *Program) environ(call *backend.Call) []string {
	environment := slices.Grow(slices.Clone(p.environment), 5)
	environment = append(environment,
		"MARIANNED_UID="+strconv.FormatUint(uint64(call.Peer.UID), 10),
		"MARIANNED_GID="+strconv.FormatUint(uint64(call.Peer.GID), 10),
		requestVariable+call.RequestID)
	if name := p.processes.userName(call.Peer.UID); name != "" {
		environment = append(environment, "MARIANNED_USER="+name)
	}
	if call.Peer.Unit != "" {
		environment = append(environment, "MARIANNED_PEER_UNIT="+call.Peer.Unit)
	}
	return environment
}

// requestVariable marks what a call has started, wherever it goes.
const requestVariable = "MARIANNED_REQUEST_ID="

// outcome is the result of a program that has ended by itself, or at the bound
// of its output.
func (r *run) outcome(status syscall.WaitStatus) (rpc.RawMessage, error) {
	p := r.program
	switch {
	case r.tooLarge:
		return nil, &rpc.Error{
			Code:    rpc.CodeReplyTooLarge,
			Message: fmt.Sprintf("the output of %q is larger than %d bytes; ask for less", r.call.Method, p.maxOutput),
			Data: &rpc.ErrorData{Reason: rpc.ReasonReplyTooLarge, Scope: "method", Limit: int64(p.maxOutput),
				Executed: rpc.ExecutedUnknown, RequestID: r.call.RequestID},
		}
	case !status.Exited() || status.ExitStatus() != 0 && !slices.Contains(p.success, status.ExitStatus()):
		return nil, r.failure(status)
	case p.stream:
		return fmt.Appendf(nil, `{"lines":%d,"exit_status":%d}`, r.lines, status.ExitStatus()), nil
	}
	result, err := formatOutput(p.result, r.output)
	if err != nil {
		return nil, r.call.Failed(rpc.ExecutedYes, err)
	}
	return result, nil
}

// CodeProgramFailed answers a call whose program said that it failed. It is of
// the range that belongs to applications.
const CodeProgramFailed = -32000

// failureData is the data of CodeProgramFailed.
type failureData struct {
	Reason     string       `json:"reason"` // "exit_status" or "signal"
	ExitStatus *int         `json:"exit_status,omitzero"`
	Signal     string       `json:"signal,omitzero"`
	Stderr     string       `json:"stderr,omitzero"`
	Executed   rpc.Executed `json:"executed"`
	RequestID  string       `json:"request_id"`
}

func (r *run) failure(status syscall.WaitStatus) *rpc.Error {
	data := failureData{Reason: "exit_status", Executed: rpc.ExecutedYes, RequestID: r.call.RequestID}
	if r.program.replyStderr {
		data.Stderr = validText(r.stderr.text())
	}
	if status.Signaled() {
		data.Reason, data.Signal, data.Executed = "signal", unix.SignalName(status.Signal()), rpc.ExecutedUnknown
	} else {
		code := status.ExitStatus()
		data.ExitStatus = &code
	}
	return &rpc.Error{
		Code:    CodeProgramFailed,
		Message: fmt.Sprintf("%q failed: %s", r.call.Method, describeStatus(status)),
		Data:    data,
	}
}

func describeStatus(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "ended by " + unix.SignalName(status.Signal())
	}
	return "exit status " + strconv.Itoa(status.ExitStatus())
}

// logStderr writes the end of what the program said on stderr to the log. What
// it says can hold what it was told: where that was a secret, nothing is logged.
func (r *run) logStderr(status syscall.WaitStatus) {
	failed := status != 0 && !(status.Exited() && slices.Contains(r.program.success, status.ExitStatus()))
	said := r.stderr.text()
	if len(said) == 0 && !failed {
		return
	}
	entry := r.call.Log.WithField("status", describeStatus(status))
	switch {
	case len(said) == 0:
	case r.program.params.Secret(r.call.Values):
		entry = entry.WithField("stderr", fmt.Sprintf("%d bytes, not shown since the call has sensitive params", r.stderr.total))
	default:
		entry = entry.WithField("stderr", validText(said))
	}
	if failed {
		entry.Warn("the program failed")
	} else {
		entry.Info("the program wrote to stderr")
	}
}
