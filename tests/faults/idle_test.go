package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestIdleConnectionsAreSmall: the goroutine of each has the smallest stack there is,
// of 2 KiB, though it has handled calls. A frame that is a few bytes too large on the
// way to the handler or to the read would have all of them grow, to twice as much.
func TestIdleConnectionsAreSmall(t *testing.T) {
	needsRoot(t)
	const connections, bound = 1000, 7680
	s := serve(t, "marianned", "", "--max-connections", "2000")
	resident := func() int {
		m, err := memoryOf(s.cmd.Process.Pid)
		require.NoError(t, err)
		return m.anonymous
	}
	before := resident()
	for range connections {
		c, err := dial(t, s.path)
		require.NoError(t, err)
		for range 3 {
			_, err = c.call(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo","params":{"a":1}}`)
			require.NoError(t, err)
		}
	}
	each := 0
	require.Eventually(t, func() bool { // garbage goes after a while
		each = (resident() - before) / connections
		return each < bound
	}, patience, 10*time.Millisecond)
	t.Logf("%d bytes for each of %d", each, connections)
}
