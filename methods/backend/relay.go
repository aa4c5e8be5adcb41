package backend

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/marianned/marianned/rpc"
)

// ReasonUnavailable says that what answers a method can not be reached now.
const ReasonUnavailable = "unavailable"

// Unavailable is Failed for what may be there again after retry. Who knows that
// it is not there has told the log: the calls that come meanwhile need not.
func (c *Call) Unavailable(executed rpc.Executed, retry time.Duration, cause error) *rpc.Error {
	c.Log.WithError(cause).Debug("call failed")
	return &rpc.Error{
		Code:    rpc.CodeInternalError,
		Message: "what answers this method is not available now; the server's log has the cause",
		Data: &rpc.ErrorData{Reason: ReasonUnavailable, Executed: executed,
			RetryAfterMS: max(retry.Milliseconds(), 1), RequestID: c.RequestID},
	}
}

// ownCodes have an rpc.ErrorData.
var ownCodes = []int{rpc.CodeResourceExhausted, rpc.CodeDeadlineExceeded, rpc.CodeCancelled, rpc.CodeReplyTooLarge}

// misdirected are the codes by which somebody says that we, not the caller, have
// asked the wrong thing.
var misdirected = []int{rpc.CodeParseError, rpc.CodeInvalidRequest, rpc.CodeMethodNotFound, rpc.CodeNotAuthorized}

// Relay turns the error reply of whoever answers in our place into what the
// caller reads. Of an internal failure the caller learns no more there than
// here; what somebody says of an application's own failure is passed on as it
// is. executed is what is known of the call, and replaces what the reply says.
func (c *Call) Relay(reply *rpc.Error, executed rpc.Executed) *rpc.Error {
	switch {
	case slices.Contains(misdirected, reply.Code):
		return c.Failed(executed, fmt.Errorf("what answers this method refused the request: %w", c.shown(reply)))
	case reply.Code == rpc.CodeInternalError, reply.Code == rpc.CodeShuttingDown:
		return c.Failed(executed, fmt.Errorf("what answers this method reported: %w", c.shown(reply)))
	case slices.Contains(ownCodes, reply.Code):
		return c.relayBound(reply, executed)
	}
	return &rpc.Error{Code: reply.Code, Message: reply.Message, Data: reply.Data}
}

// shown is what the log has of a reply. Its text can repeat what was sent.
func (c *Call) shown(reply *rpc.Error) error {
	if c.Secret {
		return fmt.Errorf("code %d; its text is not shown since the call has sensitive params", reply.Code)
	}
	return reply
}

// relayBound passes on which bound was met, as far as it is told.
func (c *Call) relayBound(reply *rpc.Error, executed rpc.Executed) *rpc.Error {
	var data rpc.ErrorData
	raw, _ := reply.Data.(rpc.RawMessage)
	if err := json.Unmarshal(raw, &data, lenient); err != nil || data.Reason == "" {
		data = rpc.ErrorData{Reason: "backend"}
	}
	data.Executed, data.RequestID, data.ID = executed, c.RequestID, nil
	return &rpc.Error{Code: reply.Code, Message: reply.Message, Data: &data}
}

// lenient reads what somebody else has written.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Members of an event's params that a stream adds itself, so that those of whom
// the event came from can not stay.
const (
	memberSubscription = "subscription"
	memberLost         = "lost"
	// memberLostBefore says how many events were lost on their way to us.
	memberLostBefore = "lost_before"
)

// EventParams returns the params of somebody's notification as a stream can send
// them: an object without the members that the stream adds. Params that are no
// object become its member "params". lost is how many events before it are known
// to be lost.
func EventParams(params rpc.RawMessage, lost int) (rpc.RawMessage, error) {
	if len(params) == 0 {
		params = rpc.RawMessage("{}")
	}
	d := jsontext.NewDecoder(bytes.NewReader(params), lenient)
	var out []byte
	if d.PeekKind() != '{' {
		out = append(append([]byte(`{"params":`), params...), ',')
	} else {
		var err error
		if out, err = filterMembers(d); err != nil {
			return nil, err
		}
	}
	if lost > 0 {
		out = fmt.Appendf(out, "%q:%d,", memberLostBefore, lost)
	}
	if last := len(out) - 1; out[last] == ',' {
		return append(out[:last], '}'), nil
	}
	return append(out, '}'), nil
}

// filterMembers returns an object without its end, a comma behind each member.
func filterMembers(d *jsontext.Decoder) ([]byte, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	out := []byte{'{'}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		if name == memberSubscription || name == memberLost || name == memberLostBefore {
			continue
		}
		out, _ = jsontext.AppendQuote(out, name) // its error says that U+FFFD was used
		out = append(append(append(out, ':'), value...), ',')
	}
	return out, nil
}
