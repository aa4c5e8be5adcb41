package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tallied feeds events, one a line, and returns the report and what it printed.
func tallied(events string, exit error, logs bool) (*report, string) {
	var out bytes.Buffer
	report := &report{out: &out, logs: logs}
	tally := newTally(report, "example.org/m")
	readErr := tally.read(strings.NewReader(strings.TrimLeft(events, "\n")))
	tally.close(exit, readErr)
	report.close()
	return report, out.String()
}

var errExit = errors.New("exit status 1")

func TestWhatGoTestSaysIsCounted(t *testing.T) {
	for _, test := range []struct {
		name                    string
		events                  string
		exit                    error
		logs                    bool
		passed, failed, skipped int
		prints                  []string
		silent                  []string // never printed
	}{
		{
			name: "a test that passes is counted, and what it logged is not shown",
			events: `
{"Action":"start","Package":"example.org/m/rpc"}
{"Action":"run","Package":"example.org/m/rpc","Test":"TestA"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestA","Output":"    a_test.go:3: chatter\n"}
{"Action":"pass","Package":"example.org/m/rpc","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"example.org/m/rpc","Output":"PASS\n"}
{"Action":"pass","Package":"example.org/m/rpc","Elapsed":0.2}`,
			passed: 1, prints: []string{"ok    rpc", "1 passed\n", "1 passed, 0 failed, 0 skipped\n"}, silent: []string{"chatter"},
		},
		{
			name: "what a test has measured is shown if asked for",
			events: `
{"Action":"run","Package":"example.org/m/rpc","Test":"TestA"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestA","Output":"    a_test.go:3: median 7ms\n"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}
{"Action":"pass","Package":"example.org/m/rpc","Test":"TestA","Elapsed":0.1}
{"Action":"run","Package":"example.org/m/rpc","Test":"TestB"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"pass","Package":"example.org/m/rpc","Test":"TestB","Elapsed":0.1}
{"Action":"pass","Package":"example.org/m/rpc","Elapsed":0.2}`,
			logs: true, passed: 2, prints: []string{"ok: rpc TestA\n        a_test.go:3: median 7ms\n"}, silent: []string{"TestB", "RUN", "PASS"},
		},
		{
			name: "a test that fails is shown with what it said",
			events: `
{"Action":"run","Package":"example.org/m/rpc","Test":"TestA"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestA","Output":"    a_test.go:3: found 1, expected 2\n"}
{"Action":"output","Package":"example.org/m/rpc","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}
{"Action":"fail","Package":"example.org/m/rpc","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"example.org/m/rpc","Output":"FAIL\n"}
{"Action":"fail","Package":"example.org/m/rpc","Elapsed":0.2}`,
			exit: errExit, failed: 1,
			prints: []string{"FAIL: rpc TestA\n        a_test.go:3: found 1, expected 2\n", "FAIL  rpc"}, silent: []string{"=== RUN", "outside of its tests"},
		},
		{
			name: "a subtest is counted, its test is not counted again",
			events: `
{"Action":"run","Package":"example.org/m","Test":"TestA"}
{"Action":"run","Package":"example.org/m","Test":"TestA/b"}
{"Action":"run","Package":"example.org/m","Test":"TestA/c/d"}
{"Action":"pass","Package":"example.org/m","Test":"TestA/b"}
{"Action":"fail","Package":"example.org/m","Test":"TestA/c/d"}
{"Action":"fail","Package":"example.org/m","Test":"TestA"}
{"Action":"fail","Package":"example.org/m"}`,
			exit: errExit, passed: 1, failed: 1, prints: []string{"FAIL: main TestA/c/d\n"}, silent: []string{"TestA (with"},
		},
		{
			name: "a test that fails after its subtests passed is a failure",
			events: `
{"Action":"run","Package":"example.org/m","Test":"TestA"}
{"Action":"run","Package":"example.org/m","Test":"TestA/b"}
{"Action":"pass","Package":"example.org/m","Test":"TestA/b"}
{"Action":"fail","Package":"example.org/m","Test":"TestA"}
{"Action":"fail","Package":"example.org/m"}`,
			exit: errExit, passed: 1, failed: 1,
		},
		{
			name: "a skipped test is left out with its reason, on one line",
			events: `
{"Action":"run","Package":"example.org/m/tests/wire","Test":"TestA"}
{"Action":"output","Package":"example.org/m/tests/wire","Test":"TestA","Output":"    a_test.go:2: looking\n"}
{"Action":"output","Package":"example.org/m/tests/wire","Test":"TestA","Output":"    a_test.go:3: needs socat:\n"}
{"Action":"output","Package":"example.org/m/tests/wire","Test":"TestA","Output":"        install it\n"}
{"Action":"output","Package":"example.org/m/tests/wire","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"example.org/m/tests/wire","Test":"TestA"}
{"Action":"pass","Package":"example.org/m/tests/wire"}`,
			skipped: 1, prints: []string{"LEFT OUT: tests/wire TestA: needs socat: install it\n"}, silent: []string{"looking"},
		},
		{
			name: "a skip without a word is left out too",
			events: `
{"Action":"run","Package":"example.org/m","Test":"TestA"}
{"Action":"skip","Package":"example.org/m","Test":"TestA"}
{"Action":"pass","Package":"example.org/m"}`,
			skipped: 1, prints: []string{"LEFT OUT: main TestA: no reason given\n"},
		},
		{
			name: "a package that does not build is one failure, with the compiler's words",
			events: `
{"ImportPath":"example.org/m/rpc [example.org/m/rpc.test]","Action":"build-output","Output":"rpc/a.go:3:1: undefined: x\n"}
{"ImportPath":"example.org/m/rpc [example.org/m/rpc.test]","Action":"build-fail"}
{"Action":"output","Package":"example.org/m/rpc","Output":"FAIL\texample.org/m/rpc [build failed]\n"}
{"Action":"fail","Package":"example.org/m/rpc","Elapsed":0,"FailedBuild":"example.org/m/rpc [example.org/m/rpc.test]"}`,
			exit: errExit, failed: 1, prints: []string{"FAIL: rpc (does not build)\n    rpc/a.go:3:1: undefined: x\n"},
		},
		{
			name: "a panic ends the test that ran and those that waited",
			events: `
{"Action":"run","Package":"example.org/m","Test":"TestWaits"}
{"Action":"pause","Package":"example.org/m","Test":"TestWaits"}
{"Action":"run","Package":"example.org/m","Test":"TestA"}
{"Action":"output","Package":"example.org/m","Test":"TestA","Output":"panic: oh [recovered]\n"}
{"Action":"output","Package":"example.org/m","Test":"TestA","Output":"goroutine 7 [running]:\n"}
{"Action":"fail","Package":"example.org/m","Test":"TestA"}
{"Action":"fail","Package":"example.org/m"}`,
			exit: errExit, failed: 2, prints: []string{"panic: oh", "goroutine 7", "FAIL: main TestWaits\n    did not end\n"},
		},
		{
			name: "an exit outside of any test is a failure, with what was said",
			events: `
{"Action":"run","Package":"example.org/m","Test":"TestA"}
{"Action":"pass","Package":"example.org/m","Test":"TestA"}
{"Action":"output","Package":"example.org/m","Output":"goleak: found unexpected goroutines\n"}
{"Action":"fail","Package":"example.org/m"}`,
			exit: errExit, passed: 1, failed: 1, prints: []string{"FAIL: main (outside of its tests)\n    goleak: found"},
		},
		{
			name: "a test that never ended fails a package that claims success",
			events: `
{"Action":"run","Package":"example.org/m","Test":"TestA"}
{"Action":"pass","Package":"example.org/m"}`,
			failed: 1, prints: []string{"did not end", "FAIL  main"},
		},
		{
			name: "a package that never ended is a failure",
			events: `
{"Action":"start","Package":"example.org/m"}
{"Action":"run","Package":"example.org/m","Test":"TestA"}
{"Action":"pass","Package":"example.org/m","Test":"TestA"}`,
			exit: errors.New("signal: killed"), passed: 1, failed: 1,
		},
		{
			name: "no test at all is a failure",
			events: `
{"Action":"output","Package":"example.org/m","Output":"?   \texample.org/m\t[no test files]\n"}
{"Action":"skip","Package":"example.org/m"}`,
			failed: 1, prints: []string{"-     main", "no tests", "FAIL: go test\n    no test was run\n"}, silent: []string{"LEFT OUT"},
		},
		{name: "silence is a failure", failed: 1, prints: []string{"no test was run"}},
		{
			name:   "plain text is shown, and go test's exit is not forgotten",
			events: "go: errors parsing go.mod\n", exit: errExit, failed: 1,
			prints: []string{"go: errors parsing go.mod\n", "no test is to blame"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, out := tallied(test.events, test.exit, test.logs)
			require.Equal(t, [3]int{test.passed, test.failed, test.skipped},
				[3]int{report.passed, report.failed, len(report.leftOut)}, "passed, failed, skipped:\n%s", out)
			for _, text := range test.prints {
				require.Contains(t, out, text)
			}
			for _, text := range test.silent {
				require.NotContains(t, out, text)
			}
		})
	}
}

// The events above are written by hand; these are those of the Go in use.
func TestTheEventsOfThisGoAreUnderstood(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":         "module example.org/m\n\ngo 1.26.0\n",
		"good/a_test.go": "package good\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"a/b\", func(t *testing.T) {}) }\nfunc FuzzB(f *testing.F) { f.Add(1); f.Fuzz(func(t *testing.T, n int) {}) }\n",
		"bad/a_test.go":  "package bad\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Error(\"found one\") }\nfunc TestB(t *testing.T) { t.Skipf(\"needs %s: ask\", \"socat\") }\n",
		"wild/a_test.go": "package wild\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { panic(\"oh no\") }) }\n",
		"gone/a_test.go": "package gone\nimport (\"testing\"; \"os\")\nfunc TestMain(m *testing.M) { m.Run(); os.Stderr.WriteString(\"leaving\\n\"); os.Exit(3) }\nfunc TestA(t *testing.T) {}\n",
		"torn/a_test.go": "package torn\nfunc f() int { return missing }\n",
		"none/a.go":      "package none\n",
	} {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	command := exec.Command("go", "test", "-json", "-vet=off", "./...")
	command.Dir = folder
	command.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	events, exit := command.Output()
	report, out := tallied(string(events), exit, false)
	require.Equal(t, 3, report.passed, out)
	require.Equal(t, 4, report.failed, out)
	require.Equal(t, []string{"bad TestB: needs socat: ask"}, report.leftOut)
	for _, text := range []string{
		"ok    good", "2 passed\n",
		"FAIL: bad TestA\n        a_test.go:3: found one\n",
		"FAIL: wild TestA/sub\n", "panic: oh no", "goroutine ",
		"FAIL: gone (outside of its tests)\n    leaving\n",
		"FAIL: torn (does not build)\n", "undefined: missing",
		"-     none",
	} {
		require.Contains(t, out, text)
	}
}
