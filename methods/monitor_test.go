package methods

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// watch opens a monitor and waits until it is in force.
func (s *service) watch(params string) *client {
	s.t.Helper()
	c := s.dial(operator)
	started := c.call("daemon.monitor.stream", params)
	require.Equal(s.t, "monitor.started", started.Method, "%+v", started)
	return c
}

func TestTheMonitorReportsCallsRefusalsAndConnections(t *testing.T) {
	s := start(t, rpc.Limits{})
	m := s.watch("")
	c := s.dial(stranger)
	opened := m.reply()
	require.Equal(t, "monitor.connection", opened.Method)
	require.Equal(t, "opened", opened.Params["state"])
	require.Equal(t, float64(stranger.UID), opened.Params["uid"])

	c.call("rpc.echo", `{"secret":1}`)
	call := m.reply()
	require.Equal(t, "monitor.call", call.Method)
	require.Equal(t, "rpc.echo", call.Params["method"])
	require.NotEmpty(t, call.Params["request_id"])
	require.Contains(t, call.Params, "duration_seconds")
	require.NotContains(t, fmt.Sprint(call), "secret")

	c.call("daemon.config", "")
	refusal := m.reply()
	require.Equal(t, "monitor.refusal", refusal.Method)
	require.Equal(t, "daemon.config", refusal.Params["method"])
	require.Equal(t, float64(rpc.CodeMethodNotFound), refusal.Params["code"])

	require.NoError(t, c.conn.Close())
	closed := m.reply()
	require.Equal(t, "monitor.connection", closed.Method)
	require.Equal(t, "closed", closed.Params["state"])
}

func TestTheMonitorReportsOnlyTheKindsAskedFor(t *testing.T) {
	s := start(t, rpc.Limits{})
	m := s.watch(`{"kinds":["refusal"]}`)
	c := s.dial(stranger)
	c.call("rpc.ping", "")
	c.call("nope", "")
	event := m.reply()
	require.Equal(t, "monitor.refusal", event.Method)
	require.Equal(t, "nope", event.Params["method"])
}

func TestTheMonitorRefusesKindsThatItDoesNotKnow(t *testing.T) {
	c := start(t, rpc.Limits{}).dial(operator)
	for params, text := range map[string]string{
		`{"kinds":["calls"]}`:    `invalid params: kinds has "calls", expected some of: call, refusal, connection`,
		`{"kinds":[]}`:           `invalid params: kinds is empty, expected some of: call, refusal, connection`,
		`{"kinds":"call"}`:       "invalid params",
		`{"kind":["call"]}`:      "invalid params",
		`[["call"],["refusal"]]`: "invalid params",
	} {
		r := c.call("daemon.monitor.stream", params)
		require.NotNil(t, r.Error, params)
		require.Equal(t, rpc.CodeInvalidParams, r.Error.Code)
		require.Contains(t, r.Error.Message, text)
	}
}

func TestAMonitorThatIsNotReadHoldsNobodyUpAndCountsItsLosses(t *testing.T) {
	s := start(t, rpc.Limits{})
	m := s.watch(`{"kinds":["call"]}`)
	c := s.dial(stranger)
	const calls = 2000
	for range calls {
		c.call("rpc.ping", "")
	}
	c.call("rpc.echo", "")
	seen, lost := 0, 0
	for {
		event := m.reply()
		if n, ok := event.Params["lost"].(float64); ok {
			lost += int(n)
		}
		if event.Params["method"] == "rpc.echo" {
			break
		}
		seen++
	}
	require.Equal(t, calls, seen+lost)
	require.Positive(t, lost)
}

func TestAMonitorEndsWithADrain(t *testing.T) {
	s := start(t, rpc.Limits{})
	m := s.watch("")
	drained := make(chan error, 1)
	go func() { drained <- s.server.Shutdown(context.Background()) }()
	require.Equal(t, rpc.CodeShuttingDown, m.reply().Error.Code)
	require.NoError(t, <-drained)
}

func TestAMonitorEndsWithItsClient(t *testing.T) {
	s := start(t, rpc.Limits{MaxStreams: 1})
	require.NoError(t, s.watch("").conn.Close())
	c := s.dial(operator)
	// The only place is free again once the handler has ended.
	for r := c.call("daemon.monitor.stream", ""); r.Error != nil; r = c.call("daemon.monitor.stream", "") {
		require.Equal(t, rpc.CodeResourceExhausted, r.Error.Code)
	}
}
