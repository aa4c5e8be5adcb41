package activation

import (
	"errors"
	"fmt"
	"io/fs"
)

// The kinds of failure, for errors.Is. Each stands for one exit code of
// sysexits(3), named beside it; the text for people is in the error itself.
var (
	// ErrConfig: what the service manager passed, or what was asked for, can
	// never work, whatever the state of the machine (78, EX_CONFIG).
	ErrConfig = errors.New("wrong configuration")

	// ErrAlreadyRunning: a live process serves the path (75, EX_TEMPFAIL).
	ErrAlreadyRunning = errors.New("already running")

	// ErrCannotCreate: something that is not ours to remove stands in the way,
	// or the file system refuses (73, EX_CANTCREAT).
	ErrCannotCreate = errors.New("cannot create")

	// ErrNotPermitted: the path is another user's, or other users could change
	// it, or the kernel denies us access (77, EX_NOPERM).
	ErrNotPermitted = errors.New("not permitted")
)

// refusal is an error of one kind. The kind is for errors.Is only: its text
// would say nothing that the refusal's own does not say better.
type refusal struct {
	kind  error
	cause error
}

func (r *refusal) Error() string   { return r.cause.Error() }
func (r *refusal) Unwrap() []error { return []error{r.kind, r.cause} }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind: kind, cause: fmt.Errorf(format, args...)}
}

// kindOf sorts what a system call on a path answered. EROFS, ENOSPC and their
// like are ErrCannotCreate: no permission that could be granted helps.
func kindOf(err error) error {
	if errors.Is(err, fs.ErrPermission) { // EACCES and EPERM
		return ErrNotPermitted
	}
	return ErrCannotCreate
}
