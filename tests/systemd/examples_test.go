package systemd

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// exampleMethods makes one of the examples the operator's methods, for a unit of
// the test's in the place of the one that it names.
func exampleMethods(t *testing.T, b *box.Box, name string) {
	t.Helper()
	text, err := os.ReadFile("../../examples/methods.d/" + name)
	require.NoError(t, err)
	b.Run(t, "sh", "-c", "getent group adm || groupadd adm")
	define(t, b, strings.ReplaceAll(string(text), "nginx", "web"))
	b.Write(t, "/run/systemd/system/web.service", "[Service]\nExecStart=/bin/sh -c 'echo $$$$ is up; exec sleep infinity'\n")
	b.Systemctl(t, "daemon-reload")
	b.Systemctl(t, "start", "web.service")
	t.Cleanup(func() { b.Systemctl(t, "stop", "web.service") })
}

func TestTheExampleOfAServiceTellsItsStateToAMemberOfTheGroup(t *testing.T) {
	b := installed(t)
	exampleMethods(t, b, "service.toml")
	user(t, b, "keeper", "marianned", "adm")
	user(t, b, "visitor", "marianned")
	said := b.Run(t, box.As("keeper", binary, "call", "service.status", "unit=web")...)
	require.Contains(t, said, `"ActiveState=active"`)
	require.Equal(t, "marianned", b.Show(t, serviceUnit, "User")["User"])
	require.Contains(t, b.Try(t, box.As("visitor", binary, "call", "service.status", "unit=web")...).Stderr, "-32601")
	refused := b.Try(t, box.As("keeper", binary, "call", "service.restart", "unit=marianned")...)
	require.Contains(t, refused.Stderr, "-32602", "a unit that is not in the list")
}

func TestTheExampleOfAServiceRestartsIt(t *testing.T) {
	b := installed(t)
	exampleMethods(t, b, "service.toml")
	user(t, b, "keeper", "marianned", "adm")
	before := b.Show(t, "web.service", "MainPID")["MainPID"]
	b.Run(t, box.As("keeper", binary, "call", "service.restart", "unit=web")...)
	after := b.Show(t, "web.service", "MainPID", "ActiveState")
	require.NotEqual(t, before, after["MainPID"])
	require.Equal(t, "active", after["ActiveState"])
}

func TestTheExampleOfTheJournalFollowsIt(t *testing.T) {
	b := installed(t)
	exampleMethods(t, b, "journal.toml")
	// The last two hide the id that a boot of the box has, a mount in /proc/sys.
	b.DropIn(t, serviceUnit, "[Service]\nSupplementaryGroups=systemd-journal\nProcSubset=all\n"+
		"ProtectKernelTunables=no\nProtectControlGroups=no\n")
	b.Run(t, "journalctl", "--sync")
	// The line of the service is enough: then the client is ended. That of the
	// service manager comes before or after it.
	out := b.Try(t, "timeout", "20", "sh", "-c", "mkfifo /run/events; "+binary+" call --json --stream journal.tail unit=web lines=10 >/run/events & "+
		"grep -m 1 'is up' /run/events; kill $!; rm /run/events")
	require.Contains(t, out.Stdout, `"method":"journal.entry"`, "%+v", out)
	box.Await(t, "journalctl has ended with its reader", func() bool { return !b.Running(t, "journalctl --follow") })
}

func TestTheExampleOfABackupIsForItsUnitAlone(t *testing.T) {
	b := installed(t)
	exampleMethods(t, b, "backup.toml")
	b.Write(t, "/usr/local/sbin/backup", "#!/bin/sh\necho copied \"$@\" for $MARIANNED_PEER_UNIT\n")
	b.Run(t, "chmod", "755", "/usr/local/sbin/backup")
	call := []string{binary, "call", "--socket", socketPath, "backup.run", "set=home"}
	in := func(unit string) box.Result {
		return b.Try(t, append([]string{"systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=" + unit}, call...)...)
	}
	require.Contains(t, in("daily.service").Stderr, "-32601")
	require.Contains(t, in("nightly.service").Stdout, "copied --set=home for nightly.service")
}
