package systemd

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
	"github.com/marianned/marianned/tests/box"
)

// The sandbox must not come between the daemon and who is calling.
func TestInTheSandboxTheDaemonKnowsItsCallers(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	b.Run(t, "groupadd", "--force", "operators")
	for name, groups := range map[string][]string{"ann": {"marianned", "operators"}, "bob": {"marianned"}} {
		uid := user(t, b, name, groups...)
		var expected []uint32
		for group := range strings.FieldsSeq(b.Run(t, "id", "--groups", name)) {
			gid, err := strconv.ParseUint(group, 10, 32)
			require.NoError(t, err)
			expected = append(expected, uint32(gid))
		}
		// The shell is the process that will be the client.
		out := b.Run(t, box.As(name, "sh", "-c", "echo $$; exec "+binary+" call --json rpc.whoami")...)
		pid, answer, _ := strings.Cut(out, "\n")
		var peer rpc.Peer
		require.NoError(t, json.Unmarshal([]byte(answer), &peer), out)
		require.Equal(t, uint32(uid), peer.UID)
		require.Equal(t, expected[0], peer.GID, "id names the primary group first")
		require.ElementsMatch(t, expected, peer.Groups)
		require.Equal(t, pid, strconv.Itoa(int(peer.PID)))
	}
}

func TestWhoIsNotInTheGroupCannotConnect(t *testing.T) {
	b := installed(t)
	user(t, b, "eve")
	result := b.Try(t, box.As("eve", binary, "call", "rpc.ping")...)
	require.Equal(t, 69, result.Code, "%+v", result)
	require.Contains(t, result.Stderr, "permission denied")
	require.Equal(t, "inactive", b.Show(t, serviceUnit, "ActiveState")["ActiveState"], "nobody has connected")
}
