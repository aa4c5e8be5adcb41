package config

import (
	"errors"
	"fmt"
)

// ErrInvalid is matched by errors about settings that can never work.
var ErrInvalid = errors.New("invalid configuration")

// Errorf makes an error that matches ErrInvalid. Its text is that of
// fmt.Errorf alone.
func Errorf(format string, args ...any) error {
	return &invalid{fmt.Errorf(format, args...)}
}

type invalid struct{ cause error }

func (i *invalid) Error() string   { return i.cause.Error() }
func (i *invalid) Unwrap() []error { return []error{ErrInvalid, i.cause} }
