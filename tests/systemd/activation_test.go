package systemd

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

func TestNothingRunsUntilTheFirstConnectWhichIsAnswered(t *testing.T) {
	b := installed(t)
	require.Equal(t, "listening", b.Show(t, socketUnit, "SubState")["SubState"])
	service := b.Show(t, serviceUnit, "ActiveState", "MainPID")
	require.Equal(t, map[string]string{"ActiveState": "inactive", "MainPID": "0"}, service)

	c := dial(t, b)
	health := c.health()
	require.Equal(t, "ok", health.Status)
	service = b.Show(t, serviceUnit, "ActiveState", "SubState", "MainPID", "User", "NRestarts")
	require.Equal(t, map[string]string{"ActiveState": "active", "SubState": "running",
		"MainPID": strconv.Itoa(health.PID), "User": "marianned", "NRestarts": "0"}, service)
	require.Equal(t, "running", b.Show(t, socketUnit, "SubState")["SubState"])
	require.Equal(t, health.PID, dial(t, b).health().PID, "the second client meets the same daemon")
}

func TestTheFirstClientMayBeTheCommandOfAMember(t *testing.T) {
	b := installed(t)
	user(t, b, "ann", "marianned")
	require.Equal(t, "\"pong\"\n", b.Run(t, box.As("ann", binary, "call", "--json", "rpc.ping")...))
}
