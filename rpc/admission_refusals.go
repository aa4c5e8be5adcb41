package rpc

import (
	"bytes"
	"fmt"
	"time"
)

func (a *admission) refuse(code int, reason, scope string, limit int64, executed Executed, format string, args ...any) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refuseLocked(code, reason, scope, limit, executed, format, args...)
}

func (a *admission) refuseLocked(code int, reason, scope string, limit int64, executed Executed, format string, args ...any) *Error {
	a.refusals[reason]++
	data := &ErrorData{Reason: reason, Scope: scope, Limit: limit, Executed: executed}
	if code == CodeResourceExhausted {
		data.RetryAfterMS = 1000 // bounds of this kind free up as calls end
	}
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Data: data}
}

// refused counts a refusal that another part of the house decided: a policy.
func (a *admission) refused(reason string) {
	a.mu.Lock()
	a.refusals[reason]++
	a.mu.Unlock()
}

func (a *admission) messageTooLarge() *Error {
	n := a.limits.Load().MaxMessageBytes
	return a.refuse(CodeParseError, ReasonMessageTooLarge, "connection", int64(n), ExecutedNo,
		"message larger than %d bytes; the connection is closed", n)
}

func (a *admission) frameTimeout() *Error {
	d := a.limits.Load().FrameTimeout
	return a.refuse(CodeParseError, ReasonFrameTimeout, "connection", d.Milliseconds(), ExecutedNo,
		"the message was not complete within %s; the connection is closed", d)
}

func (a *admission) replyTooLarge(executed Executed) *Error {
	n := a.limits.Load().MaxMessageBytes
	return a.refuse(CodeReplyTooLarge, ReasonReplyTooLarge, "call", int64(n), executed,
		"the reply would be larger than %d bytes; ask for less", n)
}

func (a *admission) checkBatch(items int) *Error {
	if n := a.limits.Load().MaxBatch; items > n {
		return a.refuse(CodeInvalidRequest, ReasonMaxBatch, "connection", int64(n), ExecutedNo,
			"the batch has %d items, expected at most %d", items, n)
	}
	return nil
}

func (a *admission) duplicateID(id []byte) *Error {
	e := a.refuse(CodeInvalidRequest, ReasonDuplicateID, "connection", 0, ExecutedNo,
		"invalid request: a call with this id is in flight on this connection")
	e.Data.(*ErrorData).ID = bytes.Clone(id)
	return e
}

func (a *admission) requestTimeout(limit time.Duration) *Error {
	return a.refuse(CodeDeadlineExceeded, ReasonRequestTimeout, "call", limit.Milliseconds(), ExecutedUnknown,
		"the call took longer than %s", limit)
}

func (a *admission) cancelled(executed Executed) *Error {
	return a.refuse(CodeCancelled, ReasonCancelled, "call", 0, executed, "the call was cancelled")
}

func (a *admission) shuttingDown(executed Executed) *Error {
	return a.refuse(CodeShuttingDown, ReasonShuttingDown, "server", 0, executed, "the server is shutting down")
}

func (a *admission) streamQueueFull(limit int) *Error {
	return a.refuse(CodeResourceExhausted, ReasonStreamQueue, "stream", int64(limit), ExecutedYes,
		"the stream has ended: more than %d events were waiting to be read", limit)
}
