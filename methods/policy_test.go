package methods

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestWhoeverMayConnectMayAskHowTheDaemonIs(t *testing.T) {
	for name, everybody := range map[string]bool{
		"rpc.ping":              true,
		"rpc.echo":              true,
		"rpc.discover":          true,
		"daemon.health":         true,
		"daemon.ready":          true,
		"daemon.status":         true,
		"daemon.config":         false,
		"daemon.metrics":        false,
		"daemon.peers":          false,
		"daemon.monitor.stream": false,
		"daemon.shutdown":       false,
		"daemon.unheard.of":     false,
		"daemon.health.x":       false, // a longer name is another one
		"rpcx":                  false,
		"add":                   false, // nobody has decided about it
	} {
		method := &rpc.Method{Name: name}
		if everybody {
			require.NoError(t, Authorize(stranger, method), name)
		} else {
			require.ErrorIs(t, Authorize(stranger, method), rpc.ErrHidden, name)
		}
		require.NoError(t, Authorize(&rpc.Peer{UID: 0}, method), name)
		require.NoError(t, Authorize(operator, method), name)
	}
}

func TestAGroupMakesNobodyAnOperator(t *testing.T) {
	require.ErrorIs(t, Authorize(&rpc.Peer{UID: 4_000_000, GID: 0, Groups: []uint32{0}}, &rpc.Method{Name: "daemon.shutdown"}), rpc.ErrHidden)
}

func TestAHiddenMethodCannotBeToldFromNone(t *testing.T) {
	s := start(t, rpc.Limits{})
	c := s.dial(stranger)
	for _, params := range []string{"", "{}", "[1]", `{"graceful":"x"}`} {
		hidden := c.call("daemon.shutdown", params)
		unknown := c.call("daemon.shutdowm", params)
		require.Equal(t, rpc.CodeMethodNotFound, hidden.Error.Code)
		require.Equal(t, unknown.Error.Code, hidden.Error.Code)
		require.Equal(t, unknown.Error.Message, strings.Replace(hidden.Error.Message, "shutdown", "shutdowm", 1))
	}
	// They are counted as one, too.
	var status struct{ Refusals map[string]int }
	c.result("daemon.status", &status)
	require.Equal(t, map[string]int{rpc.ReasonMethodNotFound: 8}, status.Refusals)
	require.Empty(t, s.stops)
}
