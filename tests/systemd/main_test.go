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
		for _, command := range next(t, b.Run(t, binary, "units", "install")) {
			b.Run(t, "sh", "-c", command)
		}
	})
	t.Cleanup(func() { reset(t, b) })
	return b
}

// next returns the commands that an installation says to run.
func next(t *testing.T, said string) (commands []string) {
	t.Helper()
	_, list, found := strings.Cut(said, "Run next:\n")
	require.True(t, found, said)
	for line := range strings.Lines(list) {
		// The last one is an example, with NAME for a user's.
		if command, found := strings.CutPrefix(line, "  "); found && !strings.Contains(command, "NAME") {
			commands = append(commands, command)
		}
	}
	require.NotEmpty(t, commands, said)
	return commands
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

// soaking returns how often to do something: few times, or many with `make soak`.
func soaking(few, many int) int {
	if os.Getenv("MARIANNED_SOAK") != "" {
		return many
	}
	return few
}

const fixtureBinary = "/usr/local/bin/fixture"

// fixture has the service run the fixture with some flags in the place of
// marianned, until the end of the test.
func fixture(t *testing.T, b *box.Box, flags ...string) {
	t.Helper()
	b.Install(t, box.Build(t, "./fixture"), fixtureBinary)
	b.Run(t, "rm", "-rf", "/var/lib/fixture")
	b.DropIn(t, serviceUnit, "[Service]\nStateDirectory=fixture\nExecStart=\nExecStart="+fixtureBinary+" "+strings.Join(flags, " ")+"\n")
}

// recorded returns the ids of all calls that the fixture has executed, one a
// line.
func recorded(t *testing.T, b *box.Box) string {
	t.Helper()
	record, err := os.ReadFile(b.Path("/var/lib/fixture/record"))
	require.NoError(t, err)
	return string(record)
}
