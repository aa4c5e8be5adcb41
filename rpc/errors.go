package rpc

import (
	"errors"
	"fmt"
	"strconv"
)

// Error codes. The first five are those of the JSON-RPC 2.0 specification,
// section 5.1. -32000, -32002, -32004 and -32005 are left to applications.
const (
	CodeParseError     = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternalError  = -32603

	// CodeResourceExhausted answers what a bound refused. Data says which.
	CodeResourceExhausted = -32001
	// CodeShuttingDown answers calls that come while the server drains, and
	// those that the end of the drain cut off.
	CodeShuttingDown = -32003
	// CodeNotAuthorized answers a caller who may see a method but not call it.
	CodeNotAuthorized = -32006
	// CodeDeadlineExceeded answers a call that took longer than its timeout.
	CodeDeadlineExceeded = -32010
	// CodeCancelled answers a call that rpc.cancel ended.
	CodeCancelled = -32011
	// CodeReplyTooLarge answers a call whose result exceeds MaxMessageBytes.
	CodeReplyTooLarge = -32012
)

// Executed says whether a call that failed may have had an effect, so that its
// caller knows whether it may be sent again.
type Executed string

const (
	// ExecutedNo: the handler was not started. Sending the call again is safe.
	ExecutedNo Executed = "no"
	// ExecutedYes: the handler ran to its end.
	ExecutedYes Executed = "yes"
	// ExecutedUnknown: the handler was started, or may have been.
	ExecutedUnknown Executed = "unknown"
)

// Error is a JSON-RPC error object (JSON-RPC 2.0, section 5.1). A handler that
// returns one, also wrapped, decides what the client reads; any other error
// reaches the client as CodeInternalError without its text.
type Error struct {
	Code    int
	Message string
	// Data is the data member: nil for none, a RawMessage that is sent as it
	// is, or a value that encodes as JSON. In errors that a Client returns it
	// is a RawMessage.
	Data any
}

// Error returns the message with its code.
func (e *Error) Error() string {
	return e.Message + " (" + strconv.Itoa(e.Code) + ")"
}

// Errorf returns an Error with a formatted message and no data.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrorData is the data member of CodeResourceExhausted, CodeShuttingDown,
// CodeDeadlineExceeded, CodeCancelled and CodeReplyTooLarge, and of a
// CodeParseError that a bound caused.
type ErrorData struct {
	// Reason names the bound or event: one of the Reason constants.
	Reason string `json:"reason"`
	// Scope says whose bound it was: "server", "uid", "connection", "method",
	// "stream" or "call".
	Scope string `json:"scope,omitzero"`
	// Limit is the bound's value: a number, or milliseconds for a timeout.
	Limit int64 `json:"limit,omitzero"`
	// RetryAfterMS is when sending the call again may succeed, in
	// milliseconds; 0 where the server can not tell.
	RetryAfterMS int64    `json:"retry_after_ms,omitzero"`
	Executed     Executed `json:"executed,omitzero"`
	// ID is the id that was refused because it is in flight already.
	ID RawMessage `json:"id,omitzero"`
	// RequestID finds the call in the server's log.
	RequestID string `json:"request_id,omitzero"`
}

// Reasons in ErrorData.
const (
	ReasonMessageTooLarge     = "message_too_large"
	ReasonFrameTimeout        = "frame_timeout"
	ReasonReplyTooLarge       = "reply_too_large"
	ReasonMaxConnections      = "max_connections"
	ReasonMaxConnectionsPerID = "max_connections_per_uid"
	ReasonQueueTimeout        = "queue_timeout"
	ReasonMaxBatch            = "max_batch"
	ReasonMaxBufferedBytes    = "max_buffered_bytes"
	ReasonMaxStreams          = "max_streams"
	ReasonStreamQueue         = "stream_queue"
	ReasonRequestTimeout      = "request_timeout"
	ReasonCancelled           = "cancelled"
	ReasonShuttingDown        = "shutting_down"
	ReasonDuplicateID         = "duplicate_id"

	// These two are counted in Stats.Refusals only. A method that is hidden
	// from the caller counts as one that is not there.
	ReasonMethodNotFound = "method_not_found"
	ReasonNotAuthorized  = "not_authorized"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("rpc: server closed")

// ErrHidden, returned by Server.Authorize, answers the call as if the method
// did not exist.
var ErrHidden = errors.New("rpc: the caller may not see this method")

func errMethodNotFound(method string) *Error {
	const shown = 200 // enough to recognise a name, whatever a client sends
	if len(method) > shown {
		method = method[:shown] + "…"
	}
	return Errorf(CodeMethodNotFound, "method %q not found; rpc.discover lists what there is", method)
}
