package systemd

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// upgraded is where another build of the daemon is installed.
const upgraded = "/opt/marianned 2/marianned"

func TestUnitsThatAreInstalledAnewRunTheNewBinaryAndKeepTheSocket(t *testing.T) {
	b := installed(t)
	before := dial(t, b).health()
	socket := b.Run(t, "stat", "--format=%i", socketPath)
	b.Run(t, "mkdir", "-p", strings.TrimSuffix(upgraded, "/marianned"))
	b.Install(t, box.Build(t, "../.."), upgraded)
	t.Cleanup(func() {
		b.Run(t, "rm", "-r", strings.TrimSuffix(upgraded, "/marianned"))
		b.Run(t, binary, "units", "install", "--force")
		b.Systemctl(t, "daemon-reload")
	})

	refused := b.Try(t, upgraded, "units", "install")
	require.NotZero(t, refused.Code)
	require.Contains(t, refused.Stderr, "/etc/systemd/system/marianned.service")
	require.Equal(t, before.PID, dial(t, b).health().PID)

	for _, command := range next(t, b.Run(t, upgraded, "units", "install", "--force")) {
		b.Run(t, "sh", "-c", command)
	}
	after := dial(t, b).health()
	require.NotEqual(t, before.PID, after.PID)
	require.Equal(t, upgraded+"\n", b.Run(t, "readlink", "/proc/"+strconv.Itoa(after.PID)+"/exe"))
	require.Equal(t, socket, b.Run(t, "stat", "--format=%i", socketPath))
}
