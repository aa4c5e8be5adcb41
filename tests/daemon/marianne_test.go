package daemon

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The habits of the clients that were written for the Python DaemonServer.

func TestMarianneSendsNullForParamsAndForTheIdsOfNotifications(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	c := dial(t, path)
	c.send(`{"jsonrpc": "2.0", "method": "daemon.health", "params": null, "id": null}`)
	health := c.result(`{"jsonrpc": "2.0", "method": "daemon.health", "params": null, "id": 1}`)
	require.Equal(t, "ok", health["status"])
	require.Equal(t, float64(p.cmd.Process.Pid), health["pid"])
	require.Equal(t, false, health["shutting_down"])
	require.IsType(t, 0.0, health["uptime_seconds"])
	require.Len(t, health, 4)
}

func TestMariannesStatusHasItsFields(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	c := dial(t, path)
	c.send(`{"jsonrpc": "2.0", "method": "daemon.status", "params": {}, "id": "a"}`)
	raw := c.line()
	for _, member := range []string{`"uptime_seconds":`, `"memory_usage_mb":`} {
		_, value, _ := strings.Cut(raw, member)
		value = value[:strings.IndexAny(value, ",}")]
		require.Contains(t, value, ".", "%s is a float in Python", member)
	}
	status := c.result(`{"jsonrpc": "2.0", "method": "daemon.status", "params": {}, "id": "b"}`)
	require.Equal(t, float64(p.cmd.Process.Pid), status["pid"])
	require.NotEmpty(t, status["version"])
	for _, name := range []string{"running_jobs", "total_jobs_active", "pid"} {
		n, ok := status[name].(float64)
		require.True(t, ok, "%s is %v", name, status[name])
		require.Equal(t, math.Trunc(n), n)
	}
}

func TestMarianneOpensAConnectionForEachStream(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	serve(t, path)
	stream := dial(t, path)
	stream.send(`{"jsonrpc": "2.0", "method": "daemon.monitor.stream", "params": null, "id": 7}`)
	require.Contains(t, stream.line(), `"monitor.started"`)
	calls := dial(t, path)
	for range 3 { // one call at a time
		require.Equal(t, "ok", calls.result(`{"jsonrpc": "2.0", "method": "daemon.health", "params": null, "id": 1}`)["status"])
	}
	for calls := 0; calls < 3; {
		line := stream.line()
		require.NotContains(t, line, `"error"`)
		if strings.Contains(line, `"daemon.health"`) {
			calls++
		}
	}
}
