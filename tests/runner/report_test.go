package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheExitCodeFollowsWhatTheClosingLineSays(t *testing.T) {
	for _, test := range []struct {
		name            string
		strict          bool
		failed, leftOut int
		code            int
		last            string
	}{
		{"all passed", true, 0, 0, 0, "1 passed, 0 failed, 0 skipped"},
		{"one failed", false, 1, 0, 1, "1 passed, 1 failed, 0 skipped"},
		{"left out, on anybody's machine", false, 0, 2, 0, "1 passed, 0 failed, 2 skipped"},
		{"left out, where everything can be run", true, 0, 2, 1, "1 passed, 0 failed, 2 skipped"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			report := &report{out: &out, strict: test.strict}
			report.pass()
			for range test.failed {
				report.fail("x", "")
			}
			for range test.leftOut {
				report.leaveOut("y", "needs z")
			}
			require.Equal(t, test.code, report.close())
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			require.Equal(t, test.last, lines[len(lines)-1])
			require.Equal(t, test.leftOut, strings.Count(out.String(), "LEFT OUT: y: needs z\n"))
		})
	}
}

func TestOnlyCIAsRootOnDebianIsStrict(t *testing.T) {
	require.True(t, machine{root: true, debian: true, ci: true}.strict())
	require.False(t, machine{debian: true, ci: true}.strict())
	require.False(t, machine{root: true, ci: true}.strict())
	require.False(t, machine{root: true, debian: true}.strict())
}

func TestEachMissingPackageIsNamedOnce(t *testing.T) {
	absent := func(string) bool { return false }
	all := missing(needs, absent)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(all))), len(all))
	for _, need := range needs {
		require.Contains(t, all, need.debian)
	}
	require.Equal(t, []string{"socat"}, missing(needs, func(program string) bool { return program != "socat" }))
	require.Empty(t, missing(needs, func(string) bool { return true }))
	require.True(t, present("go"))
	require.True(t, present("/proc/self/exe"))
	require.False(t, present("/no/such/file"))
	require.False(t, present("no-such-program"))
}

func TestALastLineIsNeverEmpty(t *testing.T) {
	require.Equal(t, "two", lastLine("one\n  two \n\n", "x"))
	require.Equal(t, "x", lastLine(" \n", "x"))
}
