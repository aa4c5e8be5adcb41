package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// TestAConnectionThatHasCalledKeepsTheSmallestStack of 2 KiB that the runtime
// has. With one more frame below each handler it was twice as much.
func TestAConnectionThatHasCalledKeepsTheSmallestStack(t *testing.T) {
	const connections = 200
	path := filepath.Join(folder(t), "s")
	serve(t, path)
	call := func() *rpc.Client {
		c, err := rpc.Dial(context.Background(), path)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.Call(context.Background(), "rpc.echo", map[string]any{"n": 1, "text": "hello, world"}, nil))
		return c
	}
	first := call()
	stacks := func() float64 {
		var text string
		require.NoError(t, first.Call(context.Background(), "daemon.metrics", nil, &text))
		for line := range strings.Lines(text) {
			var bytes float64
			if _, err := fmt.Sscanf(line, "go_memstats_stack_inuse_bytes %g", &bytes); err == nil {
				return bytes
			}
		}
		require.Fail(t, "the metrics have no go_memstats_stack_inuse_bytes", text)
		return 0
	}
	stacks() // itself needs a deep one
	before := stacks()
	for range connections {
		call()
	}
	require.Less(t, (stacks()-before)/connections, 3.0*1024, "bytes for each connection")
}
