package cli

import (
	"errors"
	"fmt"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/rpc"
)

// Exit codes. They are those of sysexits(3), but for exitCallFailed: a script
// must be able to tell a method that said no from a daemon that is not there.
const (
	exitOK           = 0
	exitCallFailed   = 1  // the daemon answered with an error
	exitUsage        = 64 // EX_USAGE: the command line
	exitUnavailable  = 69 // EX_UNAVAILABLE: cannot connect
	exitInternal     = 70 // EX_SOFTWARE: whatever has no code of its own
	exitCannotCreate = 73 // EX_CANTCREAT: something is in the way of a file or socket
	exitBusy         = 75 // EX_TEMPFAIL: already running
	exitNotPermitted = 77 // EX_NOPERM
	exitConfig       = 78 // EX_CONFIG: trying again changes nothing
)

// ExitCode returns the exit code for what a command returned: 0 for nil, 1 for
// a call that the daemon answered with an error, else one of sysexits(3): 64
// usage, 69 cannot connect, 70 internal, 73 cannot create, 75 already running,
// 77 not permitted, 78 configuration. What nothing is known about is 70.
func ExitCode(err error) int {
	var usage *usageError
	var coded *codedError
	var answer *rpc.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &answer):
		if answer.Code == rpc.CodeNotAuthorized {
			return exitNotPermitted
		}
		return exitCallFailed
	case errors.Is(err, activation.ErrConfig), errors.Is(err, config.ErrInvalid):
		return exitConfig
	case errors.Is(err, activation.ErrAlreadyRunning):
		return exitBusy
	case errors.Is(err, activation.ErrCannotCreate):
		return exitCannotCreate
	case errors.Is(err, activation.ErrNotPermitted):
		return exitNotPermitted
	}
	return exitInternal
}

// usageError is a command line that cannot be run. Its text is that of err.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usageErrorf makes one; it formats as fmt.Errorf does, %w included.
func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// codedError is an error whose exit code is known where it is made. Its text is
// that of err.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// withCode returns nil for nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code, err}
}

// unavailable marks the failure to reach a daemon.
func unavailable(err error) error { return withCode(exitUnavailable, err) }

// internalError marks what neither the user nor the operator has caused,
// whatever errors it wraps.
func internalError(err error) error { return withCode(exitInternal, err) }
