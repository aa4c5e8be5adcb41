package systemd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

const methodsFile = "/etc/marianned/methods.d/m.toml"

// define writes the operator's methods, until the end of the test.
func define(t *testing.T, b *box.Box, text string) {
	t.Helper()
	b.Run(t, "mkdir", "-p", "/etc/marianned/methods.d")
	b.Write(t, methodsFile, text)
	t.Cleanup(func() { b.Run(t, "rm", "-f", methodsFile) })
}

func TestSystemctlReloadWaitsForTheMethodsAndFailsWithThem(t *testing.T) {
	b := installed(t)
	define(t, b, "[methods.say]\nexec = [\"/bin/echo\", \"old\"]\n")
	say := func() string { return b.Run(t, binary, "call", "say") }
	require.Contains(t, say(), "old")
	pid := b.Show(t, serviceUnit, "MainPID")["MainPID"]

	b.Write(t, methodsFile, "[methods.say]\nexec = [\"/bin/echo\", \"new\"]\n")
	b.Systemctl(t, "reload", serviceUnit)
	require.Contains(t, say(), "new", "at once")

	b.Write(t, methodsFile, "[methods.say]\nexec = \"/bin/echo\"\n")
	require.NotZero(t, b.Try(t, "systemctl", "reload", serviceUnit).Code)
	require.Contains(t, say(), "new")
	shown := b.Show(t, serviceUnit, "MainPID", "ActiveState", "SubState", "StatusText")
	require.Equal(t, pid, shown["MainPID"])
	require.Equal(t, "active", shown["ActiveState"])
	require.Equal(t, "running", shown["SubState"])
	require.Contains(t, shown["StatusText"], "the last reload failed and changed nothing: "+methodsFile+":2:")

	b.Write(t, methodsFile, "[methods.say]\nexec = [\"/bin/echo\", \"newest\"]\n")
	b.Systemctl(t, "kill", "--kill-whom=main", "--signal=HUP", serviceUnit)
	box.Await(t, "the signal has reloaded", func() bool { return strings.Contains(say(), "newest") })
	require.NotContains(t, b.Show(t, serviceUnit, "StatusText")["StatusText"], "failed")
}

func TestAnOperatorsFileWithAMistakeKeepsTheServiceFromStarting(t *testing.T) {
	b := installed(t)
	define(t, b, "[methods.say]\nexec = [\"/bin/true\"]\nalow = []\n")
	require.NotZero(t, b.Try(t, "systemctl", "start", serviceUnit).Code)
	shown := b.Show(t, serviceUnit, "ExecMainStatus", "StatusText", "NRestarts")
	require.Equal(t, "78", shown["ExecMainStatus"])
	require.Equal(t, "0", shown["NRestarts"], "it would fail again")
	require.Contains(t, shown["StatusText"], methodsFile+":3:1: ")
}

// Who may call what, with users, groups and units that are real.
func TestRulesFitWhoTheKernelSaysThatACallerIs(t *testing.T) {
	b := installed(t)
	user(t, b, "owner", "marianned")
	b.Run(t, "sh", "-c", "getent group backups || groupadd backups")
	user(t, b, "member", "marianned", "backups")
	user(t, b, "other", "marianned")
	const every = "exec = [\"/bin/true\"]\n"
	// The daemon asks other databases than the files by getent, when it loads rules.
	b.Run(t, "mv", "/usr/bin/getent", "/usr/bin/getent.real")
	t.Cleanup(func() { b.Run(t, "mv", "/usr/bin/getent.real", "/usr/bin/getent") })
	b.Write(t, "/usr/bin/getent", "#!/bin/sh\necho \"$@\" >>/run/asked\nexit 2\n")
	b.Run(t, "sh", "-c", "chmod 755 /usr/bin/getent; install -m 666 /dev/null /run/asked")
	asked := func() string { return b.Run(t, "sh", "-c", "cat /run/asked; : >/run/asked") }
	define(t, b, `
[methods.default]
`+every+`
[methods.user]
`+every+`
allow = ["user:owner"]
[methods.group]
`+every+`
allow = ["group:backups"]
[methods.unit]
`+every+`
allow = ["unit:nightly-*.service"]
[methods.not-unit]
`+every+`
allow = ["everyone"]
deny = ["unit:nightly-*.service"]
[methods.not-group]
`+every+`
allow = ["everyone"]
deny = ["group:backups"]
[methods.own]
`+every+`
allow = ["user:marianned"]
[methods.directory]
`+every+`
allow = ["user:only-in-a-directory"]
`)
	b.DropIn(t, serviceUnit, "[Service]\nReadWritePaths=/run/asked\n")
	b.Systemctl(t, "start", serviceUnit)
	require.Equal(t, "passwd only-in-a-directory\n", asked())
	t.Cleanup(func() { require.Empty(t, asked(), "no call looks a name up") })
	// What enters the box from outside is in no cgroup that it can see.
	in := func(unit, name string) []string {
		return []string{"systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=" + unit, "--uid=" + name}
	}
	as := func(name string) []string { return in("day.service", name) }
	for _, caller := range []struct {
		name string
		run  []string
		may  string
	}{
		{"root", as("root"), "default not-unit not-group"},
		{"the owner", as("owner"), "user not-unit not-group"},
		{"a member by a supplementary group", as("member"), "group not-unit"},
		{"another user", as("other"), "not-unit not-group"},
		{"the daemon's own user", as("marianned"), "own not-unit not-group"},
		{"another user in the unit", in("nightly-1.service", "other"), "unit not-group"},
		{"root in the unit", in("nightly-2.service", "root"), "default unit not-group"},
		{"another user in another unit", in("nightly.scope.service", "other"), "not-unit not-group"},
	} {
		t.Run(caller.name, func(t *testing.T) {
			said := b.Run(t, append(caller.run, "sh", "-c", "for m in default user group unit own not-unit not-group; do "+
				binary+" call --json --socket "+socketPath+" $m 2>&1; echo $m $?; done; true")...)
			var may []string
			answer := ""
			for line := range strings.Lines(said) {
				method, code, ended := strings.Cut(strings.TrimSpace(line), " ")
				switch {
				case !ended || strings.HasPrefix(line, "{"):
					answer = line
				case code == "0":
					may = append(may, method)
				default:
					require.Equal(t, "1", code, said)
					require.Contains(t, answer, "-32601", "what somebody may not call is not there")
				}
			}
			require.ElementsMatch(t, strings.Fields(caller.may), may, said)
		})
	}
}
