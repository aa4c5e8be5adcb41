package main

import (
	"fmt"
	"io"
	"strings"
)

// report collects the results of checks and tests. It has one owner: nothing in
// the runner runs at once with anything else.
type report struct {
	out    io.Writer
	strict bool // whatever is left out is a failure
	logs   bool // what tests that passed have logged is shown too

	passed, failed int
	leftOut        []string // "what: why", in the order of their coming
}

func (r *report) pass() { r.passed++ }

// fail counts one failure and prints what it said, indented below its name.
func (r *report) fail(what, output string) {
	r.failed++
	r.print("FAIL: "+what, output)
}

func (r *report) leaveOut(what, why string) {
	if why == "" {
		why = "no reason given"
	}
	r.leftOut = append(r.leftOut, what+": "+why)
}

func (r *report) print(title, output string) {
	fmt.Fprintln(r.out, title)
	for line := range strings.Lines(output) {
		fmt.Fprintln(r.out, "    "+strings.TrimRight(line, "\n"))
	}
}

// close prints the list of what was left out and the closing line, and returns
// the exit code.
func (r *report) close() int {
	fmt.Fprintln(r.out)
	for _, what := range r.leftOut {
		fmt.Fprintln(r.out, "LEFT OUT:", what)
	}
	code := 0
	if r.failed > 0 {
		code = 1
	}
	if r.strict && len(r.leftOut) > 0 {
		code = 1
		fmt.Fprintln(r.out, "CI=true as root on Debian: everything can be run there, so what was left out has failed")
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, len(r.leftOut))
	return code
}
