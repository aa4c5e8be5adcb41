package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json), with the events of a
// build in between (go help buildjson).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string // on the end of a package: the build that failed
}

// tally turns the events of go test into the report.
//
// Leaves are counted: a test with subtests only where it did more than pass on
// what they did. A package that failed without a test that failed counts as one
// failure: it did not build, or exited early.
type tally struct {
	report   *report
	module   string
	packages map[string]*packageRun
	builds   map[string]string // output, by import path
}

type packageRun struct {
	tests                   map[string]*testRun
	order                   []string // of starting
	output                  strings.Builder
	passed, failed, skipped int
	ended                   bool
}

type testRun struct {
	output            strings.Builder
	parent            *testRun
	hasSub, subFailed bool
	ended             bool
}

func newTally(report *report, module string) *tally {
	return &tally{report: report, module: module, packages: map[string]*packageRun{}, builds: map[string]string{}}
}

// read takes events until stdout ends.
func (t *tally) read(stdout io.Reader) error {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			t.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes one line. What is no event is shown as it is: the go command prints
// some errors plainly.
func (t *tally) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Action == "" {
		fmt.Fprint(t.report.out, line)
		return
	}
	switch e.Action {
	case "build-output":
		t.builds[e.ImportPath] += e.Output
		return
	case "build-fail":
		return
	}
	p := t.packages[e.Package]
	if p == nil {
		p = &packageRun{tests: map[string]*testRun{}}
		t.packages[e.Package] = p
	}
	if e.Test == "" {
		switch e.Action {
		case "output":
			p.output.WriteString(e.Output)
		case "pass", "fail", "skip":
			t.endPackage(e, p)
		}
		return
	}
	test := p.test(e.Test)
	switch e.Action {
	case "output":
		test.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.endTest(e.Package, e.Test, e.Action, p, test)
	}
}

// test returns the state of a test, which it makes on its first event.
func (p *packageRun) test(name string) *testRun {
	if test := p.tests[name]; test != nil {
		return test
	}
	test := &testRun{}
	p.tests[name] = test
	p.order = append(p.order, name)
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		// The name of a subtest may hold slashes itself: its parent is the longest
		// beginning that is a test.
		for ; i >= 0; i = strings.LastIndexByte(name[:i], '/') {
			if parent := p.tests[name[:i]]; parent != nil {
				test.parent = parent
				parent.hasSub = true
				break
			}
		}
	}
	return test
}

func (t *tally) endTest(pkg, name, action string, p *packageRun, test *testRun) {
	if test.ended {
		return
	}
	test.ended = true
	what := t.short(pkg) + " " + name
	output := test.output.String()
	test.output.Reset()
	switch action {
	case "pass":
		if !test.hasSub {
			p.passed++
			t.report.pass()
		}
		if logged := readable(output); t.report.logs && logged != "" {
			t.report.print("ok: "+what, logged)
		}
	case "skip":
		p.skipped++
		t.report.leaveOut(what, skipReason(output))
	case "fail":
		for parent := test.parent; parent != nil; parent = parent.parent {
			parent.subFailed = true
		}
		if output = readable(output); test.subFailed {
			// Its subtests are counted; what it said itself may still explain them.
			if output != "" {
				t.report.print("FAIL: "+what+" (with its subtests)", output)
			}
			return
		}
		p.failed++
		t.report.fail(what, output)
	}
}

func (t *tally) endPackage(e event, p *packageRun) {
	p.ended = true
	name := t.short(e.Package)
	for _, test := range slices.Backward(p.order) { // subtests before their tests
		if run := p.tests[test]; !run.ended {
			e.Action = "fail" // whatever the package says of itself
			run.output.WriteString("did not end\n")
			t.endTest(e.Package, test, "fail", p, run)
		}
	}
	if e.Action == "fail" {
		output := t.builds[e.FailedBuild] + readable(p.output.String())
		switch {
		case p.failed == 0:
			p.failed++
			title := name + " (outside of its tests)"
			if e.FailedBuild != "" {
				title = name + " (does not build)"
			}
			t.report.fail(title, output)
		case output != "":
			t.report.print(name+", outside of its tests:", output)
		}
	}
	switch {
	case e.Action == "fail":
		fmt.Fprintf(t.report.out, "FAIL  %-28s %7.1fs  %s\n", name, e.Elapsed, p.counts())
	case len(p.tests) == 0:
		fmt.Fprintf(t.report.out, "-     %-28s           no tests\n", name)
	default:
		fmt.Fprintf(t.report.out, "ok    %-28s %7.1fs  %s\n", name, e.Elapsed, p.counts())
	}
	p.tests, p.order = map[string]*testRun{}, nil
}

func (p *packageRun) counts() string {
	text := fmt.Sprintf("%d passed", p.passed)
	if p.failed > 0 {
		text += fmt.Sprintf(", %d failed", p.failed)
	}
	if p.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", p.skipped)
	}
	return text
}

// close is called when go test has ended with exit: nothing may pass for success
// that was only not heard of.
func (t *tally) close(exit, readErr error) {
	ran := 0
	for name, p := range t.packages {
		if !p.ended {
			t.endPackage(event{Action: "fail", Package: name}, p)
		}
		ran += p.passed + p.failed + p.skipped
	}
	switch {
	case readErr != nil:
		t.report.fail("reading what go test prints", readErr.Error())
	case exit != nil && t.failures() == 0:
		t.report.fail("go test", exit.Error()+", and no test is to blame")
	case ran == 0:
		t.report.fail("go test", "no test was run")
	}
}

func (t *tally) failures() int {
	failed := 0
	for _, p := range t.packages {
		failed += p.failed
	}
	return failed
}

// short is the import path without the module's.
func (t *tally) short(pkg string) string {
	if pkg == t.module {
		return "main"
	}
	return strings.TrimPrefix(pkg, t.module+"/")
}

var (
	// What the testing package frames a test's output with.
	frame = regexp.MustCompile(`^\s*(=== (RUN|PAUSE|CONT|NAME|ATTR|ARTIFACTS)\s|--- (PASS|FAIL|SKIP|BENCH): )`)
	// What ends a package.
	verdict = regexp.MustCompile(`^(PASS|FAIL|ok  \t.*|FAIL\t.*|exit status \d+|testing: warning: no tests to run)$`)
	// The place that t.Log and its kin write in front.
	place = regexp.MustCompile(`^\s*\S+\.go:\d+: `)
)

// readable drops the lines that say nothing beyond the report itself.
func readable(output string) string {
	var kept strings.Builder
	for line := range strings.Lines(output) {
		if !frame.MatchString(line) && !verdict.MatchString(strings.TrimRight(line, "\r\n")) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// skipReason returns what the test said last, on one line: t.Skip logs its
// reason like t.Log, with its further lines indented.
func skipReason(output string) string {
	var words []string
	for line := range strings.Lines(readable(output)) {
		if loc := place.FindStringIndex(line); loc != nil {
			words, line = nil, line[loc[1]:]
		}
		words = append(words, strings.Fields(line)...)
	}
	return strings.Join(words, " ")
}
