package packages

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

const (
	socketUnit  = "marianned.socket"
	serviceUnit = "marianned.service"
)

// onDebian runs a test in a fresh machine of each release, which has the packages
// in /srv.
func onDebian(t *testing.T, test func(t *testing.T, b *box.Box)) {
	t.Helper()
	t.Parallel() // most of it is waiting
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			b := box.BootRoot(t, box.DebianRoot(t, release))
			put(t, b, debOf(older(t), previous, runtime.GOARCH), oldDeb)
			put(t, b, debOf(all(t), current, runtime.GOARCH), newDeb)
			test(t, b)
		})
	}
}

// Where the packages are in a box.
const (
	oldDeb = "/srv/old.deb"
	newDeb = "/srv/new.deb"
)

func put(t *testing.T, b *box.Box, file, path string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.Path(path), content, 0o644))
}

// install has apt install a deb, whatever its version, and returns what it said.
func install(t *testing.T, b *box.Box, deb string) string {
	t.Helper()
	return b.Run(t, "apt-get", "install", "--yes", "--allow-downgrades", deb)
}

func state(t *testing.T, b *box.Box, unit string) string {
	t.Helper()
	return b.Show(t, unit, "ActiveState")["ActiveState"]
}

func enabled(t *testing.T, b *box.Box) string {
	t.Helper()
	return strings.TrimSpace(b.Try(t, "systemctl", "is-enabled", socketUnit).Stdout)
}

func TestAfterAnInstallationAMemberOfTheGroupIsAnswered(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		b.Run(t, "useradd", "--create-home", "ann")
		b.Run(t, "useradd", "--create-home", "bob")

		// As the README has it.
		b.Run(t, "mkdir", "/srv/dist")
		put(t, b, debOf(all(t), current, runtime.GOARCH), "/srv/dist/"+filepath.Base(debOf(all(t), current, runtime.GOARCH)))
		said := b.Run(t, "sh", "-ec", "cd /srv; apt install --yes ./dist/marianned_*.deb")
		require.Contains(t, said, "usermod -aG marianned NAME")
		require.Contains(t, said, "next login")
		require.Equal(t, "enabled", enabled(t, b))
		require.Equal(t, "active", state(t, b, socketUnit))
		require.Equal(t, "inactive", state(t, b, serviceUnit))
		b.Run(t, "usermod", "-aG", "marianned", "ann")

		answer := b.Run(t, box.As("ann", "marianned", "status")...)
		require.Regexp(t, `(?m)^version +1\.1\.0$`, answer)
		require.Equal(t, "active", state(t, b, serviceUnit))

		stranger := b.Try(t, box.As("bob", "marianned", "status")...)
		require.Equal(t, 69, stranger.Code)
		require.Contains(t, stranger.Stderr, "usermod -aG marianned bob")
		verifyUnits(t, b)

		b.Reboot(t)
		require.Equal(t, "active", state(t, b, socketUnit))
		require.Equal(t, "inactive", state(t, b, serviceUnit))
		b.Run(t, box.As("ann", "marianned", "status")...)
	})
}

func TestAUserHasADaemonOfItsOwnForTheAsking(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		b.Run(t, "useradd", "--create-home", "--uid", "1234", "ann")
		install(t, b, newDeb)
		b.Systemctl(t, "start", "user@1234.service")
		asAnn := func(args ...string) string {
			return b.Run(t, box.As("ann", append([]string{"env", "HOME=/home/ann", "XDG_RUNTIME_DIR=/run/user/1234"}, args...)...)...)
		}
		require.Contains(t, asAnn("systemctl", "--user", "list-unit-files", socketUnit), "disabled")
		asAnn("systemctl", "--user", "enable", "--now", socketUnit)
		asAnn("marianned", "status")
		require.Equal(t, "inactive", state(t, b, serviceUnit), "hers has answered, not the system's")
	})
}

func TestAnUpgradeAndADowngradeUnderLoadLoseNoCall(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		install(t, b, oldDeb)
		load := startCallers(t, b, 100)
		for _, step := range []struct{ deb, version string }{{newDeb, current}, {oldDeb, previous}, {newDeb, current}} {
			before, socket := status(t, b), socketOf(t, b)
			install(t, b, step.deb)
			load.goOn(t)
			after := status(t, b)
			require.NotEqual(t, before.PID, after.PID)
			require.Equal(t, step.version, after.Version)
			require.Equal(t, socket, socketOf(t, b), "the socket is another one")
		}
		load.lostNothing(t, "two upgrades and a downgrade")
	})
}

// With keep_connections nobody has to connect again.
func TestAnUpgradeUnderLoadKeepsConnectionsIfAsked(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		const clients = 100
		install(t, b, oldDeb)
		b.Write(t, "/etc/marianned/conf.d/keep.toml", "keep_connections = true\n")
		load := startCallers(t, b, clients)
		for _, step := range []struct{ deb, version string }{{newDeb, current}, {oldDeb, previous}, {newDeb, current}} {
			before := status(t, b)
			install(t, b, step.deb)
			load.goOn(t)
			after := status(t, b)
			require.NotEqual(t, before.PID, after.PID)
			require.Equal(t, step.version, after.Version)
		}
		load.noticedNothing(t, "two upgrades and a downgrade with keep_connections", clients)
	})
}

// socketOf tells the socket from every other one that was at its path.
func socketOf(t *testing.T, b *box.Box) string {
	t.Helper()
	return b.Run(t, "stat", "--format=%i %W", socketPath) + b.Show(t, socketUnit, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"]
}

// repacked makes another deb of one in the box, after a change below a folder.
func repacked(t *testing.T, b *box.Box, deb, name, script string) string {
	t.Helper()
	path := "/srv/" + name + ".deb"
	b.Run(t, "dpkg-deb", "--raw-extract", deb, "/srv/"+name)
	b.Run(t, "sh", "-ec", "cd /srv/"+name+"; sed -i 's/^Version: .*/Version: 2.0.0-1/' DEBIAN/control; "+script)
	b.Run(t, "dpkg-deb", "-Zgzip", "-z1", "--build", "--root-owner-group", "/srv/"+name, path)
	return path
}

func TestASocketWhoseUnitHasChangedIsRestarted(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		install(t, b, newDeb)
		before, socket := status(t, b), socketOf(t, b)
		install(t, b, repacked(t, b, newDeb, "changed", "sed -i s/^Backlog=.*/Backlog=77/ usr/lib/systemd/system/marianned.socket"))
		require.NotEqual(t, socket, socketOf(t, b))
		require.Equal(t, "77", b.Show(t, socketUnit, "Backlog")["Backlog"])
		require.NotEqual(t, before.PID, status(t, b).PID)
		require.NoDirExists(t, b.Path("/run/marianned-before"))
	})
}

// A machine can be switched off, or a terminal closed, between the files and the
// scripts that follow.
func TestAnInterruptedUpgradeIsMadeUpFor(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		install(t, b, newDeb)
		before, socket := status(t, b), socketOf(t, b)
		changed := repacked(t, b, newDeb, "changed", "sed -i s/^Backlog=.*/Backlog=77/ usr/lib/systemd/system/marianned.socket")
		b.Run(t, "dpkg", "--unpack", changed)
		require.Equal(t, before.PID, status(t, b).PID)

		// Not only configured, as apt would, but from its beginning.
		b.Run(t, "dpkg", "--install", changed)
		require.NotEqual(t, socket, socketOf(t, b))
		require.Equal(t, "77", b.Show(t, socketUnit, "Backlog")["Backlog"])
		require.NotEqual(t, before.PID, status(t, b).PID)
		require.NoDirExists(t, b.Path("/run/marianned-before"))

		b.Run(t, "dpkg", "--unpack", newDeb)
		b.Run(t, "dpkg", "--purge", "marianned")
		require.Empty(t, b.Run(t, "find", "/run", "-name", "marianned-before"))
	})
}

// What fails is undone by dpkg, with the scripts of the version that was there.
func TestAnUpgradeOrARemovalThatFailsLeavesTheOldOneServing(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		install(t, b, oldDeb)
		load := startCallers(t, b, 10)
		socket := socketOf(t, b)
		for _, script := range []string{"preinst", "prerm"} {
			broken := repacked(t, b, newDeb, script, "echo exit 1 >>DEBIAN/"+script)
			if script == "prerm" {
				// What comes is asked where the script of what is there has failed.
				b.Run(t, "sh", "-ec", "echo exit 1 >>/var/lib/dpkg/info/marianned.prerm")
			}
			require.NotZero(t, b.Try(t, "dpkg", "--install", broken).Code, script)
			load.goOn(t)
			require.Equal(t, previous, status(t, b).Version, script)
			require.Equal(t, socket, socketOf(t, b), script)
			require.NoDirExists(t, b.Path("/run/marianned-before"), script)
			require.Contains(t, b.Run(t, "dpkg-query", "--show", "--showformat=${db:Status-Abbrev}", "marianned"), "ii", script)
		}
		load.lostNothing(t, "two upgrades that failed")

		require.NotZero(t, b.Try(t, "dpkg", "--remove", "marianned").Code)
		require.Equal(t, "active", state(t, b, socketUnit))
		require.Equal(t, previous, status(t, b).Version)
	})
}

func TestAnUpgradeStartsNothingThatTheOperatorHasTurnedOff(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		install(t, b, oldDeb)
		b.Systemctl(t, "disable", "--now", socketUnit)
		install(t, b, newDeb)
		require.Equal(t, "disabled", enabled(t, b))
		require.Equal(t, "inactive", state(t, b, socketUnit))

		b.Systemctl(t, "mask", socketUnit)
		install(t, b, oldDeb)
		require.Equal(t, "masked", enabled(t, b))
		require.Equal(t, "inactive", state(t, b, socketUnit))
	})
}

// dpkg asks, or takes --force-confold for the answer, only where the file that the
// package brings is another one as well.
func TestAChangedConfigurationOutlivesUpgradesAndRemoval(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		const file, mine = "/etc/marianned/marianned.toml", "# mine\nmax_batch = 7\n"
		install(t, b, oldDeb)
		b.Write(t, file, mine)
		b.Run(t, "chmod", "0640", file)
		b.Run(t, "chgrp", "marianned", file)
		untouched := func(when string) {
			t.Helper()
			require.Equal(t, mine, b.Run(t, "cat", file), when)
			require.Equal(t, "640 root marianned\n", b.Run(t, "stat", "--format=%a %U %G", file), when)
			require.NoFileExists(t, b.Path(file+".dpkg-old"), when)
		}
		install(t, b, newDeb)
		untouched("after an upgrade")
		require.Contains(t, b.Run(t, "marianned", "call", "--json", "daemon.config"), `"max_batch":7`)
		install(t, b, oldDeb)
		untouched("after a downgrade")

		changed := repacked(t, b, newDeb, "changed", "echo '# theirs' >>etc/marianned/marianned.toml")
		b.Run(t, "apt-get", "install", "--yes", "--option=Dpkg::Options::=--force-confold", changed)
		untouched("after an upgrade that brings another one")
		require.Contains(t, b.Run(t, "cat", file+".dpkg-dist"), "# theirs")

		b.Run(t, "apt-get", "remove", "--yes", "marianned")
		untouched("after a removal")
		install(t, b, changed)
		untouched("after another installation")
		b.Run(t, "apt-get", "purge", "--yes", "marianned")
		require.NoDirExists(t, b.Path("/etc/marianned"))
	})
}

func TestWhatIsRemovedStopsAndComesBack(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		install(t, b, newDeb)
		status(t, b)
		require.True(t, b.Running(t, "marianned serve"))
		b.Run(t, "apt-get", "remove", "--yes", "marianned")
		require.Equal(t, "inactive", state(t, b, serviceUnit))
		require.Equal(t, "inactive", state(t, b, socketUnit))
		require.NoDirExists(t, b.Path("/run/marianned"))
		require.False(t, b.Running(t, "marianned serve"))

		install(t, b, newDeb)
		require.Equal(t, "active", state(t, b, socketUnit))
		require.Equal(t, current, status(t, b).Version)
	})
}

func TestAPurgeLeavesNothingButTheUser(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		before := tree(t, b)
		install(t, b, oldDeb)
		status(t, b)
		install(t, b, newDeb)
		status(t, b)
		b.Run(t, "apt-get", "purge", "--yes", "marianned")

		changed := before.changedTo(tree(t, b))
		// The accounts, with what useradd and its kin keep of them before a change.
		for _, file := range []string{"passwd", "group", "shadow", "gshadow"} {
			require.Contains(t, changed, "/etc/"+file)
			delete(changed, "/etc/"+file)
			delete(changed, "/etc/"+file+"-")
		}
		require.Empty(t, changed)
		for _, database := range []string{"passwd", "group"} {
			require.Equal(t, before.accounts[database]+1, strings.Count(b.Run(t, "getent", database), "\n"))
			b.Run(t, "getent", database, "marianned")
		}
	})
}

func TestAPurgeLeavesWhatTheOperatorHasWritten(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		install(t, b, newDeb)
		b.Write(t, "/etc/marianned/note", "mine\n")
		b.Run(t, "mkdir", "/etc/systemd/system/marianned.service.d")
		b.Write(t, "/etc/systemd/system/marianned.service.d/mine.conf", "[Service]\nTasksMax=100\n")
		b.Run(t, "apt-get", "purge", "--yes", "marianned")
		b.Run(t, "test", "-e", "/etc/marianned/note")
		b.Run(t, "test", "-e", "/etc/systemd/system/marianned.service.d/mine.conf")
	})
}

// A package is installed into the root of an image as well, in which no systemd
// runs: the socket is there at its first boot.
func TestAnInstallationWithoutARunningSystemdStartsNothing(t *testing.T) {
	onDebian(t, func(t *testing.T, b *box.Box) {
		// A mount namespace without the sign that systemd runs, as in a chroot.
		b.Run(t, "unshare", "--mount", "sh", "-ec", "mount -t tmpfs none /run/systemd; apt-get install --yes "+newDeb)
		require.Equal(t, "enabled", enabled(t, b))
		b.Systemctl(t, "daemon-reload")
		require.Equal(t, "inactive", state(t, b, socketUnit))
		b.Run(t, "getent", "group", "marianned")
		b.Reboot(t)
		require.Equal(t, current, status(t, b).Version)
	})
}

// wasThere is what a path was: its kind, mode and owner, and a file's content.
type treeOf struct {
	files    map[string]string
	accounts map[string]int // entries of a database
}

// books are where dpkg, apt and logind, which apt calls, write down what they do.
// That nothing has our name there is looked for all the same.
var books = []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/srv", "/var/log", "/var/tmp",
	"/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/debconf", "/var/lib/systemd/linger"}

// tree returns what is in the file systems of a box.
func tree(t *testing.T, b *box.Box) treeOf {
	t.Helper()
	found := treeOf{map[string]string{}, map[string]int{}}
	for _, database := range []string{"passwd", "group"} {
		found.accounts[database] = strings.Count(b.Run(t, "getent", database), "\n")
	}
	var prune []string
	for _, book := range books {
		prune = append(prune, "-path", book, "-prune", "-o")
	}
	list := b.Run(t, append(append([]string{"find", "/"}, prune...), "-printf", `%p\t%y %m %u %g %l\n`)...)
	list += b.Run(t, "find", "/run", "/var", "/tmp", "-name", "*marianned*", "-not", "-path", "/var/log/*", "-printf", `%p\t%y %m %u %g %l\n`)
	for line := range strings.Lines(list) {
		path, what, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		found.files[path] = what
	}
	sums := b.Run(t, append(append([]string{"find", "/"}, prune...), "-type", "f", "-exec", "md5sum", "--", "{}", "+")...)
	for line := range strings.Lines(sums) {
		sum, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		found.files[path] += " " + sum
	}
	return found
}

// changedTo returns the paths that are new, gone or different.
func (before treeOf) changedTo(after treeOf) map[string]string {
	changed := map[string]string{}
	for path, what := range after.files {
		if before.files[path] != what {
			changed[path] = before.files[path] + " -> " + what
		}
	}
	for path, what := range before.files {
		if _, found := after.files[path]; !found {
			changed[path] = what + " -> gone"
		}
	}
	return changed
}
