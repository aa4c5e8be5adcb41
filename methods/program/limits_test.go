package program

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

func TestAProgramBeginsWithItsLimits(t *testing.T) {
	f := method(t, shell("ulimit -n; ulimit -H -n; ulimit -t; ulimit -f; ulimit -c")+
		"result = \"lines\"\nlimits = { nofile = 64, cpu = 7, fsize = 1048576, core = 0 }")
	require.JSONEq(t, `["64","64","7","2048","0"]`, f.result("{}")) // fsize in blocks of 512 bytes
	shows := method(t, "exec = [\"SELF\", \"-n\", \"--nofile=9\"]\nenvironment."+showVariable+" = \"1\"\nlimits.core = 0\nresult = \"json\"").shows("{}")
	require.Equal(t, [][]byte{[]byte("-n"), []byte("--nofile=9")}, shows.Args, "its own arguments are not those of what sets the limits")
	require.Len(t, shows.FDs, 3)
	require.True(t, shows.Group)
}

func TestALimitAboveTheDaemonsOwnChangesNothing(t *testing.T) {
	var own unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &own))
	f := method(t, shell("ulimit -H -n")+"limits.nofile = 9223372036854775807")
	require.Contains(t, f.result("{}"), unixLimit(own.Max))
}

func unixLimit(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

func TestAProgramThatGoesBeyondALimitFails(t *testing.T) {
	f := method(t, shell("while :; do :; done")+"limits.cpu = 1")
	failed, data := f.fails("{}")
	require.Equal(t, CodeProgramFailed, failed.Code)
	require.Equal(t, "signal", data["reason"])
}

func TestALimitedProgramThatIsNotThereWasNotExecuted(t *testing.T) {
	f, findings := read(t, "exec = [\"/no/such/program\"]\nlimits.nofile = 64")
	require.NoError(t, findings.Err())
	_, data := f.fails("{}")
	require.Equal(t, string(rpc.ExecutedNo), data["executed"])
	require.Contains(t, f.log.String()+data["reason"].(string), "internal")
}

func TestWhatIsWrongWithALimitIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		"limits.nofiles = 1":         `limits has "nofiles", which is no limit of a program; did you mean "nofile"?`,
		"limits.bananas = 1":         "expected one of: as, core, cpu, data, fsize, memlock, nofile, nproc, stack",
		"limits.nofile = -1":         "limits.nofile is -1, expected 0 or more",
		"nice = 5":                   "add user",
		"nice = 20\nuser = \"root\"": "nice is 20, expected a number from -20 to 19",
	} {
		_, findings := read(t, "exec = [\"/bin/true\"]\n"+text)
		require.ErrorContains(t, findings.Err(), want)
	}
}

func TestAProgramOutsideHasItsNiceness(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to become another user")
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 - niceness, getpriority(2)
	require.NoError(t, err)
	path := "exec = [\"/usr/bin/nice\"]\nuser = \"nobody\"\nnice = 19\nlimits.core = 0"
	f, findings := read(t, path)
	var more definition.Findings
	f.program.RunAs(&definition.Method{Program: definition.Program{User: "nobody"}}, &more)
	require.NoError(t, findings.Err())
	require.NoError(t, more.Err())
	require.Equal(t, `"19\n"`, f.result("{}"))
	for range 50 { // on whatever thread
		now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		require.NoError(t, err)
		require.Equal(t, own, now, "no thread of the daemon's has it")
	}
}
