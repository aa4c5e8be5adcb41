package rpc

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// CallError is the failure of a call.
type CallError struct {
	Method string
	// Executed says whether the call may have had an effect.
	Executed Executed
	// Err is an *Error of the server's, the context's error, or why the
	// connection has ended.
	Err error
}

// Error returns the method, the cause, and whether the call was executed.
func (e *CallError) Error() string {
	state := map[Executed]string{
		ExecutedNo: "it was not executed", ExecutedYes: "it was executed", ExecutedUnknown: "it may have been executed",
	}[e.Executed]
	return fmt.Sprintf("call %s: %v; %s", e.Method, e.Err, state)
}

// Unwrap returns Err.
func (e *CallError) Unwrap() error { return e.Err }

// sendError makes the CallError of a call that was not sent whole.
func sendError(method string, err error) error {
	var u *unsent
	if errors.As(err, &u) {
		return &CallError{method, ExecutedNo, u.cause}
	}
	return &CallError{method, ExecutedUnknown, err}
}

// callFailure makes the CallError of a reply; nil for a result.
func callFailure(method string, r clientReply) error {
	switch {
	case r.err == nil:
		return nil
	case r.executed == "":
		return &CallError{method, ExecutedBy(r.err), r.err}
	}
	return &CallError{method, r.executed, r.err}
}

// ExecutedBy tells from the error reply to a call, an *Error, whether it was
// executed. What the server says of it counts, else the code. Of any other error
// nothing is known.
func ExecutedBy(err error) Executed {
	var e *Error
	if !errors.As(err, &e) {
		return ExecutedUnknown
	}
	switch said := errorData(e).Executed; said {
	case ExecutedNo, ExecutedYes, ExecutedUnknown:
		return said
	}
	switch e.Code {
	case CodeParseError, CodeInvalidRequest, CodeMethodNotFound, CodeInvalidParams, CodeNotAuthorized:
		return ExecutedNo
	case CodeInternalError, CodeResourceExhausted, CodeShuttingDown, CodeDeadlineExceeded, CodeCancelled:
		return ExecutedUnknown
	}
	return ExecutedYes
}

// executedAtEnd is for a message of size bytes that is left without an answer
// for the reason given.
func (c *Client) executedAtEnd(reason error, size int) Executed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.executedAtEndLocked(reason, size)
}

// executedAtEndLocked reads the reason with care: what the server says there of
// one message does not hold for the others, which may be running.
func (c *Client) executedAtEndLocked(reason error, size int) Executed {
	e, ok := reason.(*Error)
	if !ok {
		return ExecutedUnknown
	}
	data := errorData(e)
	switch {
	case data.Executed != ExecutedNo:
	case data.Reason == ReasonMessageTooLarge && int64(size) > data.Limit:
		return ExecutedNo
	case (e.Code == CodeResourceExhausted || e.Code == CodeShuttingDown) && !c.served:
		return ExecutedNo // it was the connection that was refused
	}
	return ExecutedUnknown
}

// errorData returns the data of an error as far as it is ours: an application's
// may be anything.
func errorData(e *Error) (data ErrorData) {
	switch d := e.Data.(type) {
	case *ErrorData:
		return *d
	case RawMessage:
		_ = json.Unmarshal(d, &data, lenient)
	}
	return data
}
