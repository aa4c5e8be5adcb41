package packages

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// helper stands in for systemd-update-helper of the Fedora family, which Debian
// has not got. It does what the verbs are for, as far as the package uses them.
const helper = `#!/bin/sh
verb=$1; shift
now=; [ ! -d /run/systemd/system ] || now=yes
case $verb in
install-system-units) systemctl --no-reload preset "$@" ;;
remove-system-units) systemctl --no-reload disable ${now:+--now} "$@" ;;
mark-restart-system-units) for unit; do [ -z "$now" ] || systemctl set-property "$unit" Markers=+needs-restart; done ;;
*) exit 3 ;;
esac
`

const (
	helperPath = "/usr/lib/systemd/systemd-update-helper"
	oldRpm     = "/srv/old.rpm"
	newRpm     = "/srv/new.rpm"
)

// bare boots a box over the root of this machine, where nothing is of the package.
func bare(t *testing.T) *box.Box {
	t.Helper()
	b := box.BootRoot(t, box.HostRoot)
	b.Run(t, "rm", "-rf", "/etc/marianned", "/usr/lib/marianned", "/usr/share/doc/marianned", "/usr/bin/marianned")
	return b
}

// onRpm runs a test in a Debian that takes packages from rpm: with the helper and
// triggers of the Fedora family's systemd, as far as they were written here, and
// without, as an older systemd has none.
func onRpm(t *testing.T, test func(t *testing.T, b *box.Box, triggers func())) {
	t.Helper()
	need(t, "rpm", "rpm")
	t.Parallel()
	for name, withHelper := range map[string]bool{"with systemd's helper": true, "without it": false} {
		t.Run(name, func(t *testing.T) {
			b := bare(t)
			put(t, b, rpmOf(older(t), previous, runtime.GOARCH), oldRpm)
			put(t, b, rpmOf(all(t), current, runtime.GOARCH), newRpm)
			b.Run(t, "rpm", "--initdb")
			triggers := func() {}
			if withHelper {
				b.Write(t, helperPath, helper)
				b.Run(t, "chmod", "0755", helperPath)
				// Of %transfiletriggerin and -un, which run last.
				triggers = func() {
					b.Systemctl(t, "daemon-reload")
					b.Systemctl(t, "reload-or-restart", "--marked")
				}
			}
			// As in Fedora, where packages enable nothing.
			b.Run(t, "mkdir", "-p", "/etc/systemd/system-preset")
			b.Write(t, "/etc/systemd/system-preset/00-none.preset", "disable *\n")
			test(t, b, triggers)
		})
	}
}

// rpm runs rpm and requires that no scriptlet failed: rpm itself exits 0 then.
func rpm(t *testing.T, b *box.Box, triggers func(), args ...string) string {
	t.Helper()
	// Its dependencies are Debian's packages here.
	result := b.Try(t, append([]string{"rpm", "--nodeps"}, args...)...)
	require.Zero(t, result.Code, result.Stderr)
	require.NotContains(t, result.Stderr, "scriptlet failed")
	triggers()
	return result.Stdout
}

func TestAnRpmIsInstalledUpgradedUnderLoadAndRemoved(t *testing.T) {
	onRpm(t, func(t *testing.T, b *box.Box, triggers func()) {
		said := rpm(t, b, triggers, "--install", oldRpm)
		require.Contains(t, said, "systemctl enable --now marianned.socket")
		require.Contains(t, said, "next login")
		require.Equal(t, "disabled", enabled(t, b))
		require.Equal(t, "inactive", state(t, b, socketUnit))
		b.Run(t, "getent", "group", "marianned")
		require.Empty(t, b.Run(t, "rpm", "--verify", "--nodeps", "marianned"))
		verifyUnits(t, b)

		b.Systemctl(t, "daemon-reload") // of the triggers that are not here
		b.Systemctl(t, "enable", "--now", socketUnit)
		b.Run(t, "useradd", "--groups", "marianned", "rpmann")
		b.Run(t, box.As("rpmann", "marianned", "status")...)

		// Of the operator from now on.
		const file, mine = "/etc/marianned/marianned.toml", "# mine\nmax_batch = 7\n"
		b.Write(t, file, mine)

		load := startCallers(t, b, 100)
		for _, step := range []struct {
			version string
			args    []string
		}{
			{current, []string{"--upgrade", newRpm}},
			{previous, []string{"--upgrade", "--oldpackage", oldRpm}},
		} {
			before, socket := status(t, b), socketOf(t, b)
			rpm(t, b, triggers, step.args...)
			load.goOn(t)
			after := status(t, b)
			require.NotEqual(t, before.PID, after.PID)
			require.Equal(t, step.version, after.Version)
			require.Equal(t, socket, socketOf(t, b), "the socket is another one")
			require.Equal(t, "enabled", enabled(t, b))
			require.Equal(t, mine, b.Run(t, "cat", file))
		}
		load.lostNothing(t, "an upgrade and a downgrade")

		rpm(t, b, triggers, "--erase", "marianned")
		require.Equal(t, "inactive", state(t, b, serviceUnit))
		require.Equal(t, "inactive", state(t, b, socketUnit))
		require.Equal(t, mine, b.Run(t, "cat", file+".rpmsave"))
		b.Run(t, "rm", "--recursive", "/etc/marianned") // rpm knows no purge
		left := b.Run(t, "find", "/usr", "/etc", "/run", "/var", "-name", "*marianned*", "-not", "-path", "/run/marianned-box*")
		require.Empty(t, strings.TrimSpace(left))
		b.Run(t, "getent", "group", "marianned")
	})
}

func TestAnRpmWhoseSocketUnitHasChangedRestartsIt(t *testing.T) {
	onRpm(t, func(t *testing.T, b *box.Box, triggers func()) {
		rpm(t, b, triggers, "--install", oldRpm)
		b.Systemctl(t, "daemon-reload")
		b.Systemctl(t, "enable", "--now", socketUnit)
		before, socket := status(t, b), socketOf(t, b)
		// What is there has changed, not what comes: the scripts cannot tell.
		b.Run(t, "sed", "-i", "s/^Backlog=.*/Backlog=77/", "/usr/lib/systemd/system/marianned.socket")
		rpm(t, b, triggers, "--upgrade", newRpm)
		box.Await(t, "the socket is another one", func() bool { return socketOf(t, b) != socket })
		require.NotEqual(t, before.PID, status(t, b).PID)
		require.NoDirExists(t, b.Path("/run/marianned-before"))

		// An upgrade that was interrupted has left the unit of which the socket is.
		b.Run(t, "mkdir", "/run/marianned-before")
		b.Write(t, "/run/marianned-before/marianned.socket", "another one\n")
		socket = socketOf(t, b)
		rpm(t, b, triggers, "--upgrade", "--oldpackage", oldRpm)
		box.Await(t, "the socket is another one", func() bool { return socketOf(t, b) != socket })
	})
}

func TestAnRpmIsInstalledWhereNoSystemdRuns(t *testing.T) {
	onRpm(t, func(t *testing.T, b *box.Box, _ func()) {
		for _, action := range []string{"--install " + oldRpm, "--upgrade " + newRpm, "--erase marianned"} {
			// A mount namespace without the sign that systemd runs, as in a chroot.
			said := b.Run(t, "unshare", "--mount", "sh", "-ec",
				"mount -t tmpfs none /run/systemd; rpm --nodeps "+action+" 2>&1")
			require.NotContains(t, said, "scriptlet failed", action)
		}
		b.Run(t, "getent", "group", "marianned")
	})
}
