package systemd

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

func TestMain(m *testing.M) { os.Exit(box.Main(m)) }

const (
	socketUnit  = "marianned.socket"
	serviceUnit = "marianned.service"
	socketPath  = "/run/marianned/marianned.sock"
	binary      = "/usr/local/bin/marianned"
)

var installation sync.Once

// installed returns the box with the system's units installed as the binary
// itself says, the socket listening, and the daemon not running.
func installed(t *testing.T) *box.Box {
	t.Helper()
	b := box.Boot(t)
	installation.Do(func() {
		b.Install(t, box.Build(t, "../.."), binary)
		out := b.Run(t, binary, "units", "install")
		_, next, found := strings.Cut(out, "Run next:\n")
		require.True(t, found, out)
		for line := range strings.Lines(next) {
			if command, found := strings.CutPrefix(line, "  "); found && !strings.Contains(command, "NAME") {
				b.Run(t, "sh", "-c", command)
			}
		}
	})
	t.Cleanup(func() { reset(t, b) })
	return b
}

// reset gives the next test the units as they are after an installation.
func reset(t *testing.T, b *box.Box) {
	b.Systemctl(t, "stop", serviceUnit, socketUnit)
	b.Try(t, "systemctl", "reset-failed", serviceUnit, socketUnit) // fails where one is not loaded
	b.Systemctl(t, "start", socketUnit)
}

// user makes sure that the box has a user, in the groups that are given, and
// returns its uid.
func user(t *testing.T, b *box.Box, name string, groups ...string) int {
	t.Helper()
	if b.Try(t, "id", name).Code != 0 {
		b.Run(t, "useradd", "--user-group", "--create-home", name)
	}
	b.Run(t, "usermod", "--groups", strings.Join(groups, ","), name)
	uid, err := strconv.Atoi(strings.TrimSpace(b.Run(t, "id", "--user", name)))
	require.NoError(t, err)
	return uid
}
