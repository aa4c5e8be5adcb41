package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/marianned/marianned/rpc"
	"github.com/marianned/marianned/units"
)

// callError explains why a call has no result: exit code 77 for one that the
// daemon did not permit, else 1. With asJSON what a daemon answered is printed
// as it came, on one line.
func callError(method string, timeout time.Duration, err error, asJSON bool) error {
	executed := rpc.ExecutedUnknown
	var call *rpc.CallError
	if errors.As(err, &call) {
		executed = call.Executed
	}
	var answer *rpc.Error
	if !errors.As(err, &answer) {
		return withCode(exitCallFailed, fmt.Errorf("%s: %s; %s%w", method, interruption(timeout, err), mayRetry(executed), silent{err}))
	}
	coded := withCode(ExitCode(answer), err)
	if asJSON {
		return &reportedError{report: errorObject(answer) + "\n", err: coded}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s (code %d)", method, answer.Message, answer.Code)
	if data := errorData(answer); data != nil {
		fmt.Fprintf(&text, "\ndata: %s", data)
	}
	if note := advice(answer.Code, executed); note != "" {
		fmt.Fprintf(&text, "\n%s", note)
	}
	return &explainedError{text: text.String(), err: coded}
}

// explainedError has a text of its own for people.
type explainedError struct {
	text string
	err  error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.err }

// interruption says what ended a call that was not answered.
func interruption(timeout time.Duration, err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s (--timeout)", timeout)
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the daemon closed the connection without an answer"
	}
	var call *rpc.CallError
	if errors.As(err, &call) {
		err = call.Err // the method and the rest are said around it
	}
	return err.Error()
}

// advice says what to do about an error that a daemon answered.
func advice(code int, executed rpc.Executed) string {
	switch code {
	case rpc.CodeMethodNotFound:
		return "`marianned methods` lists what there is."
	case rpc.CodeInvalidParams:
		return "`marianned describe` shows what the method expects."
	case rpc.CodeNotAuthorized:
		return "Ask whoever runs the daemon: it knows callers by their user and groups."
	case rpc.CodeParseError, rpc.CodeInvalidRequest:
		return ""
	}
	note := mayRetry(executed)
	if note == "" {
		return ""
	}
	return strings.ToUpper(note[:1]) + note[1:] + "."
}

// mayRetry says whether the call may be sent again.
func mayRetry(executed rpc.Executed) string {
	switch executed {
	case rpc.ExecutedNo:
		return "the call was not executed, and may be sent again"
	case rpc.ExecutedYes:
		return "the call was executed"
	}
	return "the call may have been executed: look before you send it again"
}

// errorData returns the data member on one line, or nil for none.
func errorData(e *rpc.Error) json.RawMessage {
	if e.Data == nil {
		return nil
	}
	if raw, ok := e.Data.(json.RawMessage); ok {
		text, err := compactJSON(raw)
		if err != nil {
			return nil
		}
		return text
	}
	text, err := json.Marshal(e.Data)
	if err != nil {
		return nil
	}
	return text
}

// errorObject returns the error as it stands in a reply (JSON-RPC 2.0, section
// 5.1), fit for a terminal.
func errorObject(e *rpc.Error) string {
	object := fmt.Sprintf(`{"code":%d,"message":%s`, e.Code, jsonString(strings.ToValidUTF8(e.Message, "\uFFFD")))
	if data := errorData(e); data != nil {
		object += `,"data":` + string(data)
	}
	return visible(object + "}")
}

// installError gives the failures of installing their exit codes.
func installError(err error) error {
	switch {
	case errors.Is(err, units.ErrDiffers):
		return withCode(exitCannotCreate, fmt.Errorf("%w: --force does", err))
	case errors.Is(err, fs.ErrPermission):
		return withCode(exitNotPermitted, fmt.Errorf("%w; run it with sudo for the system's units, or with --user for your own", err))
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return withCode(exitCannotCreate, err)
	}
	return withCode(exitConfig, err)
}
