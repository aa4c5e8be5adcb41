package cli

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// run is Main with buffers.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestAWrongCommandLineIsAUsageError(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"", "marianned: no command given, expected one of the above"},
		{"frobnicate", `unknown command "frobnicate" for "marianned"; ` + "`marianned --help` lists the commands"},
		{"frobnicate --force", `unknown command "frobnicate"`},
		{"statsu", `did you mean "status"?`},
		{"statsu --json", `did you mean "status"?`},
		{"help statsu", `did you mean "status"?`},
		{"--frobnicate", "marianned: unknown flag: --frobnicate; `marianned --help` lists the flags"},
		{"status --frobnicate", "marianned: status: unknown flag: --frobnicate; `marianned status --help` lists the flags"},
		{"status now", `unexpected argument "now", expected ` + "`marianned status [flags]`"},
		{"status --timeout soon", `invalid argument "soon" for "--timeout" flag`},
		{"status --timeout 30", `missing unit in duration`},
		{"status --timeout -1s", "--timeout is -1s, expected a duration like 30s, or 0 for none"},
		{"call", "the method is missing"},
		{"call rpc.echo word", `parameter "word" has no "="`},
		{"call rpc.echo a=1 --params -", "given both as \"a=1\" and by --params"},
		{"call rpc.echo --params", "flag needs an argument: --params"},
		{"describe", "METHOD is missing, expected `marianned describe METHOD [flags]`"},
		{"describe a b", `unexpected argument "b"`},
		{"units", "marianned: units: no command given"},
		{"units instal", `unknown command "instal" for "marianned units"; did you mean "install"?`},
		{"units print now", `unexpected argument "now"`},
		{"demo now", `unexpected argument "now"`},
		{"version now", `unexpected argument "now"`},
		{"activate-as-child", "is for `marianned demo`"},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := run(t, "", strings.Fields(test.args)...)
			require.Equal(t, 64, code, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, test.want)
			require.Contains(t, stderr, "marianned: ")
			require.True(t, strings.HasSuffix(stderr, "\n"))
		})
	}
}

func TestHelpGoesToStdout(t *testing.T) {
	for _, args := range []string{"--help", "help", "help call", "call --help", "units --help", "help units print"} {
		code, stdout, stderr := run(t, "", strings.Fields(args)...)
		require.Zero(t, code, args)
		require.Contains(t, stdout, "Usage:", args)
		require.Empty(t, stderr, args)
	}
	_, help, _ := run(t, "", "--help")
	require.NotContains(t, help, activateCommand, "a command for the demo only")
	for _, name := range []string{"serve", "call", "methods", "describe", "status", "demo", "units", "version"} {
		require.Contains(t, help, "\n  "+name+" ", name)
	}
}

func TestAnErrorCannotSteerTheTerminal(t *testing.T) {
	_, _, stderr := run(t, "", "call", "x", "\x1b]0;owned\a=1", "\x1b]0;owned\a=2")
	require.NotContains(t, stderr, "\x1b")
	require.NotContains(t, stderr, "\a")
}

func TestAnOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	var errs bytes.Buffer
	require.Equal(t, 70, Main([]string{"version"}, strings.NewReader(""), fullDisk{}, &errs))
	require.Contains(t, errs.String(), "no space left on device")
	errs.Reset()
	require.Equal(t, 70, Main([]string{"--help"}, strings.NewReader(""), fullDisk{}, &errs))
	require.Contains(t, errs.String(), "no space left on device")
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestVersionIsPrintedInEveryForm(t *testing.T) {
	code, stdout, _ := run(t, "", "version")
	require.Zero(t, code)
	require.Regexp(t, `^marianned \S+\ncommit    .+\ndate      .+\ngo        go\S+\n$`, stdout)
	code, stdout, _ = run(t, "", "version", "--json")
	require.Zero(t, code)
	require.Regexp(t, `^\{"version":"[^"]+","commit":"[^"]*","date":"[^"]*","go":"go[^"]+"\}\n$`, stdout)
	code, stdout, _ = run(t, "", "--version")
	require.Zero(t, code)
	require.Regexp(t, `^marianned \S+\n$`, stdout)
}
