package conffile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. The zero Line means the file as a whole, the
// zero File that no file is to blame.
type Position struct {
	File   string
	Line   int // from 1
	Column int // in bytes, from 1
}

// String returns "file:line:column", or as much of it as is known.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Finding is one thing about a file that its author should know.
type Finding struct {
	Position
	// Warning says that the file can be used all the same.
	Warning bool
	Message string
}

// String returns "file:line:column: message".
func (f Finding) String() string {
	message := f.Message
	if f.Warning {
		message = "warning: " + message
	}
	if f.File == "" {
		return message
	}
	return f.Position.String() + ": " + message
}

// Findings are those of all files. As an error its text has one line for each.
type Findings []Finding

func (fs Findings) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Add appends an error at a position.
func (fs *Findings) Add(at Position, format string, args ...any) {
	*fs = append(*fs, Finding{Position: at, Message: fmt.Sprintf(format, args...)})
}

// Warn appends a warning at a position.
func (fs *Findings) Warn(at Position, format string, args ...any) {
	*fs = append(*fs, Finding{Position: at, Warning: true, Message: fmt.Sprintf(format, args...)})
}

// Split returns the findings that make the files unusable and those that do
// not, both in the order of their places.
func (fs Findings) Split() (mistakes, warnings Findings) {
	for _, f := range fs.sorted() {
		if f.Warning {
			warnings = append(warnings, f)
		} else {
			mistakes = append(mistakes, f)
		}
	}
	return mistakes, warnings
}

// Err returns the errors among the findings as an error of type Findings, nil
// if there are none.
func (fs Findings) Err() error {
	if mistakes, _ := fs.Split(); len(mistakes) > 0 {
		return mistakes
	}
	return nil
}

// FindingsOf returns the findings in the tree of an error.
func FindingsOf(err error) (findings Findings, found bool) {
	found = errors.As(err, &findings)
	return findings, found
}

func (fs Findings) sorted() Findings {
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return sorted
}
