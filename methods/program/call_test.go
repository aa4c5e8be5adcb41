package program

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/rpc"
)

func processGroup() int { return unix.Getpgrp() }

func TestAProgramSeesNothingButWhatItIsGiven(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	t.Setenv("LANG", "C.UTF-8")
	t.Setenv("SECRET", "x")
	s := method(t, showing).shows(`{}`)
	require.ElementsMatch(t, []string{
		"PATH=/usr/bin:/bin", "LANG=C.UTF-8", showVariable + "=1",
		"MARIANNED_METHOD=m", "MARIANNED_UID=0", "MARIANNED_GID=7", "MARIANNED_USER=root",
		"MARIANNED_PEER_UNIT=backup.service", s.variable("MARIANNED_REQUEST_ID"),
	}, s.Environment)
	require.Regexp(t, "^MARIANNED_REQUEST_ID=test-0x", s.variable("MARIANNED_REQUEST_ID"))
	require.Equal(t, "/", s.Directory)
	require.True(t, s.Group, "it leads a process group")
	for i := range s.FDs {
		s.FDs[i] = strings.TrimRight(s.FDs[i], "[]0123456789")
	}
	require.Equal(t, []string{"0 /dev/null", "1 pipe:", "2 pipe:"}, s.FDs)
}

func (s shown) variable(name string) string {
	for _, v := range s.Environment {
		if strings.HasPrefix(v, name+"=") {
			return v
		}
	}
	return ""
}

func TestTheEnvironmentCanBeAddedToAndTheDirectoryChosen(t *testing.T) {
	dir := t.TempDir()
	s := method(t, showing+"directory = \""+dir+"\"\n").shows(`{}`)
	require.Equal(t, dir, s.Directory)
	s = method(t, strings.Replace(showing, `"1" }`, `"1", PATH = "/opt", A_1 = "{s} $x" }`, 1)).shows(`{}`)
	require.Equal(t, "PATH=/opt", s.variable("PATH"))
	require.Equal(t, "A_1={s} $x", s.variable("A_1"), "it is no place for placeholders")
}

func TestOutputBecomesTheResult(t *testing.T) {
	for _, test := range []struct{ result, line, want string }{
		{"text", `printf 'a\nb\n'`, `"a\nb\n"`},
		{"text", `printf ''`, `""`},
		{"text", `printf 'a\377\000\033"<'`, `"a` + "\uFFFD" + `\u0000\u001b\"<"`},
		{"lines", `printf 'a\n\n b \nc'`, `["a",""," b ","c"]`},
		{"lines", `printf ''`, `[]`},
		{"lines", `printf '\n'`, `[""]`},
		{"json", `printf ' {"a": [1e400, 2]}\n'`, `{"a": [1e400, 2]}`},
		{"json", `printf '\n'`, `null`},
	} {
		f := method(t, shell(test.line)+"result = \""+test.result+"\"\n")
		require.Equal(t, test.want, f.result(`{}`), test.line)
		require.Empty(t, f.log.String())
	}
}

func TestOutputThatIsNotWhatTheMethodSaysIsItsFault(t *testing.T) {
	for _, line := range []string{`printf '{'`, `printf '1 2'`, `printf '"\377"'`} {
		f := method(t, shell(line)+"result = \"json\"\n")
		wire, data := f.fails(`{}`)
		require.Equal(t, rpc.CodeInternalError, wire.Code)
		require.Equal(t, "yes", data["executed"])
		require.Contains(t, f.log.String(), "is no JSON value in UTF-8")
	}
}

func TestOutputIsBounded(t *testing.T) {
	const limit = "max_output_bytes = 1000\n"
	require.Len(t, method(t, shell("head -c 1000 /dev/zero | tr '\\000' x")+limit).result(`{}`), 1002)
	for _, line := range []string{"head -c 1001 /dev/zero", "yes", "cat /dev/zero", "trap '' TERM; while :; do echo; done"} {
		f := method(t, shell(line)+limit)
		wire, data := f.fails(`{}`)
		require.Equal(t, rpc.CodeReplyTooLarge, wire.Code, line)
		require.Equal(t, `the output of "m" is larger than 1000 bytes; ask for less`, wire.Message)
		require.Equal(t, "reply_too_large", data["reason"])
		require.Equal(t, "method", data["scope"])
		require.EqualValues(t, 1000, data["limit"])
		require.Equal(t, "unknown", data["executed"])
	}
}

func TestAFailureTellsItsExitStatus(t *testing.T) {
	f := method(t, shell("echo said >&2; exit 3"))
	wire, data := f.fails(`{}`)
	require.Equal(t, CodeProgramFailed, wire.Code)
	require.Equal(t, `"m" failed: exit status 3`, wire.Message)
	require.Equal(t, map[string]any{"reason": "exit_status", "exit_status": 3.0, "executed": "yes", "request_id": f.requestID()}, data)
	require.Contains(t, f.log.String(), `level=warning msg="the program failed" status="exit status 3" stderr="said\n"`)

	f = method(t, shell("kill -KILL $$"))
	wire, data = f.fails(`{}`)
	require.Equal(t, `"m" failed: ended by SIGKILL`, wire.Message)
	require.Equal(t, "signal", data["reason"])
	require.Equal(t, "SIGKILL", data["signal"])
	require.Equal(t, "unknown", data["executed"])
}

func TestStderrIsTheCallersWhereTheMethodSaysSo(t *testing.T) {
	_, data := method(t, shell(`printf 'no\377 such\n' >&2; exit 1`)+"stderr = \"reply\"\n").fails(`{}`)
	require.Equal(t, "no\uFFFD such\n", data["stderr"])
}

func TestOfStderrTheEndIsKept(t *testing.T) {
	_, data := method(t, shell(`head -c 100000 /dev/zero | tr '\000' x >&2; printf 'the end' >&2; exit 1`)+"stderr = \"reply\"\n").fails(`{}`)
	require.Len(t, data["stderr"], maxStderrBytes)
	require.True(t, strings.HasSuffix(data["stderr"].(string), "xxxthe end"))
}

func TestStderrOfASuccessIsLoggedToo(t *testing.T) {
	f := method(t, shell("echo careful >&2"))
	f.result(`{}`)
	require.Contains(t, f.log.String(), `level=info msg="the program wrote to stderr" status="exit status 0" stderr="careful\n"`)
}

func TestAnExitStatusCanBeASuccess(t *testing.T) {
	f := method(t, shell("echo none; exit 3")+"success_exit_status = [1, 3]\n")
	require.Equal(t, `"none\n"`, f.result(`{}`))
	require.Empty(t, f.log.String())
}

func TestASensitiveParameterNeverReachesTheLog(t *testing.T) {
	f := method(t, shell("cat >&2; exit 1")+"stdin = \"params\"\nparams.properties.password = { type = \"string\", sensitive = true }\n")
	f.fails(`{"password":"hunter2"}`)
	require.Contains(t, f.log.String(), "22 bytes, not shown since the call has sensitive params")
	require.NotContains(t, f.log.String(), "hunter2")
	f.fails(`{}`)
	require.Contains(t, f.log.String(), `stderr="{}"`, "without a secret nothing is held back")
}

func TestAProgramThatIsNotThereFailsTheCall(t *testing.T) {
	f, findings := read(t, "exec = [\"/nowhere/program\"]\n")
	require.NoError(t, findings.Err())
	require.Len(t, findings, 1)
	wire, data := f.fails(`{}`)
	require.Equal(t, rpc.CodeInternalError, wire.Code)
	require.Equal(t, "no", data["executed"])
	require.NotContains(t, wire.Message, "nowhere")
	require.Contains(t, f.log.String(), "start /nowhere/program: no such file or directory")
}

func TestLinesOfAStreamAreEvents(t *testing.T) {
	f := method(t, shell(`printf 'a\n\nb c\nlast'`)+"stream = true\n")
	require.Equal(t, `{"lines":4,"exit_status":0}`, f.result(`{}`))
	require.Equal(t, []string{`line {"line":"a"}`, `line {"line":""}`, `line {"line":"b c"}`, `line {"line":"last"}`}, f.events)

	f = method(t, shell(`printf '{"a":1}\nx\n2\n'`)+"stream = true\nresult = \"json\"\nevent = \"m.entry\"\n")
	require.Equal(t, `{"lines":2,"exit_status":0}`, f.result(`{}`))
	require.Equal(t, []string{`m.entry {"value":{"a":1}}`, `m.entry {"value":2}`}, f.events)
	require.Contains(t, f.log.String(), "a line of the program's output is left out")
}

func TestALineOfAStreamIsBounded(t *testing.T) {
	f := method(t, shell("echo a; cat /dev/zero")+"stream = true\nmax_output_bytes = 1000\n")
	wire, _ := f.fails(`{}`)
	require.Equal(t, rpc.CodeReplyTooLarge, wire.Code)
	require.Equal(t, []string{`line {"line":"a"}`}, f.events)
}

func TestUsersAreKnownByTheirFile(t *testing.T) {
	names := parsePasswd([]byte("root:x:0:0:root:/root:/bin/sh\n\n# no\nbroken:x\nmarianne:x:1000:1000::/:/bin/sh\nagain:x:1000:1:::\nx:x:-1:0:::\n"))
	require.Equal(t, map[uint32]string{0: "root", 1000: "marianne"}, names)
	require.Equal(t, "root", new(Processes).userName(0))
	require.Empty(t, new(Processes).userName(4_000_000_000))
}

func TestNothingIsLeftOfManyCalls(t *testing.T) {
	f := method(t, shell("cat; sleep 60 & exit 0")+"stdin = \"params\"\n")
	f.result(`{}`)
	before := openFiles(t)
	for range calls(t) {
		require.Equal(t, `"{}"`, f.result(`{}`))
	}
	require.Subset(t, before, openFiles(t)) // what earlier tests left to the collector may be gone
	require.NoError(t, noChildren())
}

// calls is how many a test makes that looks for what is left over.
func calls(t testing.TB) int {
	if text := os.Getenv("MARIANNED_TEST_CALLS"); text != "" {
		n := 0
		_, err := fmt.Sscan(text, &n)
		require.NoError(t, err)
		return n
	}
	return 200
}

func openFiles(t testing.TB) (files []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files = append(files, e.Name()+" "+target)
		}
	}
	return files
}

// noChildren fails while this process has a child, be it a zombie.
func noChildren() error {
	if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != unix.ECHILD {
		return fmt.Errorf("there is still a child: waitid says %v", err)
	}
	return nil
}
