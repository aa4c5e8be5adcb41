package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestConnectionsThatCanNotAllBeOpenAreAWarning(t *testing.T) {
	require.Empty(t, compareFiles(rpc.Limits{}, 500+ownFiles))
	require.Equal(t, "571 open files are allowed, expected at least 572 for max_connections, which is 500: "+
		"raise LimitNOFILE= of the unit, or lower max_connections", compareFiles(rpc.Limits{}, 571))
	require.Empty(t, tooFewFiles(rpc.Limits{MaxConnections: 1}))

	f := start(t, Config{Limits: rpc.Limits{MaxConnections: 1 << 30}})
	require.Contains(t, f.log.String(), "expected at least 1073741896 for max_connections")
	f.stop()
}
