package systemd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

const configFile = "/etc/marianned/conf.d/10-test.toml"

// configure writes a file of the system's configuration, until the end of the test.
func configure(t *testing.T, b *box.Box, text string) {
	t.Helper()
	b.Run(t, "mkdir", "-p", "/etc/marianned/conf.d")
	t.Cleanup(func() { b.Run(t, "rm", "-f", configFile) })
	b.Write(t, configFile, text)
}

func TestTheServiceTakesItsConfigurationAtItsStartAndAtAReload(t *testing.T) {
	b := installed(t)
	configure(t, b, "max_batch = 7\n")
	setting := func() string { return b.Run(t, binary, "call", "--json", "daemon.config") }
	require.Contains(t, setting(), `{"name":"max_batch","value":7,"origin":"`+configFile+`:1:1"}`, "in the sandbox, as the user marianned")
	require.Contains(t, b.Run(t, binary, "config", "show", "--origin"), configFile+":1:1")
	pid := b.Show(t, serviceUnit, "MainPID")["MainPID"]

	b.Write(t, configFile, "max_batch = 8\n")
	b.Systemctl(t, "reload", serviceUnit)
	require.Contains(t, setting(), `"max_batch":8,`, "at once")

	b.Write(t, configFile, "max_batch = 9\nmax_bach = 9\n")
	require.Equal(t, 78, b.Try(t, binary, "check").Code)
	require.NotZero(t, b.Try(t, "systemctl", "reload", serviceUnit).Code)
	require.Contains(t, setting(), `"max_batch":8,`)
	shown := b.Show(t, serviceUnit, "MainPID", "ActiveState", "StatusText")
	require.Equal(t, pid, shown["MainPID"])
	require.Equal(t, "active", shown["ActiveState"])
	require.Contains(t, shown["StatusText"], configFile+`:2:1: unknown key "max_bach"; did you mean "max_batch"?`)
}

func TestAConfigurationWithAMistakeKeepsTheServiceFromStarting(t *testing.T) {
	b := installed(t)
	configure(t, b, "idle_exit = \"1s\"\n")
	require.NotZero(t, b.Try(t, "systemctl", "start", serviceUnit).Code)
	shown := b.Show(t, serviceUnit, "ExecMainStatus", "StatusText", "NRestarts")
	require.Equal(t, "78", shown["ExecMainStatus"])
	require.Equal(t, "0", shown["NRestarts"], "it would fail again")
	require.Contains(t, shown["StatusText"], configFile+":1:1: idle_exit is 1s, expected at least 5s")
}

func TestAFileThatTheServiceMayNotReadIsSaid(t *testing.T) {
	b := installed(t)
	configure(t, b, "")
	b.Run(t, "chmod", "600", configFile)
	checked := b.Try(t, binary, "check")
	require.Zero(t, checked.Code)
	require.Contains(t, checked.Stderr, configFile+": warning: the daemon's user, marianned, may not read it")
	require.NotZero(t, b.Try(t, "systemctl", "start", serviceUnit).Code)
	require.Contains(t, b.Show(t, serviceUnit, "StatusText")["StatusText"], configFile+": open: permission denied")
}

func TestAUsersOwnDaemonHasAConfigurationOfItsOwn(t *testing.T) {
	b := installed(t)
	configure(t, b, "max_batch = 7\n")
	a := manager(t, b, "ann")
	a.install()
	const file = "/home/ann/.config/marianned/marianned.toml"
	a.run("sh", "-c", "umask 022; mkdir -p ~/.config/marianned; echo max_streams = 9 >"+file)
	t.Cleanup(func() { b.Run(t, "rm", "-f", file) })
	answer := a.run(binary, "call", "--json", "daemon.config")
	require.Contains(t, answer, `{"name":"max_streams","value":9,"origin":"`+file+`:1:1"}`)
	require.Contains(t, answer, `"max_batch":100,`, "the system's files are not for it")
	require.Contains(t, a.run(binary, "config", "show", "--origin"), file+":1:1")
	require.Contains(t, a.run(binary, "config", "show", "--system"), "max_batch = 7\n")
}
