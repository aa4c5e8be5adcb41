package systemd

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// begun waits until n calls hold a slot.
func begun(t *testing.T, b *box.Box, n int) {
	t.Helper()
	begunAt(t, b, socketPath, n)
}

func begunAt(t *testing.T, b *box.Box, path string, n int) {
	t.Helper()
	c := dialAt(t, b, path)
	box.Await(t, "the calls hold their slots", func() bool {
		var status struct {
			RunningJobs int `json:"running_jobs"`
		}
		c.call("daemon.status", "null", &status)
		return status.RunningJobs == n
	})
	require.NoError(t, c.Close())
}

// status waits until the service manager has a text about the service.
func status(t *testing.T, b *box.Box, pattern string) {
	t.Helper()
	wanted := regexp.MustCompile("^" + pattern + "$")
	box.Await(t, "the status is "+pattern, func() bool {
		return wanted.MatchString(b.Show(t, serviceUnit, "StatusText")["StatusText"])
	})
}

func TestSystemctlStatusShowsConnectionsCallsAndTotals(t *testing.T) {
	b := installed(t)
	fixture(t, b, "--drain-timeout=3s")
	c := dial(t, b)
	c.health()
	status(t, b, "connections 1, in flight 0, total 1")
	c.send(`{"jsonrpc":"2.0","id":2,"method":"sleep","params":{"ms":1500}}`)
	c.send(`{"jsonrpc":"2.0","id":3,"method":"hang"}`)
	status(t, b, "connections 1, in flight 2, total 3")
	require.Contains(t, b.Run(t, "systemctl", "status", serviceUnit), `Status: "connections 1, in flight `)
	b.Systemctl(t, "stop", "--no-block", serviceUnit)
	status(t, b, "draining 2")
	require.Contains(t, c.line(), "slept")
	status(t, b, "draining 1")
	require.Contains(t, c.line(), "-32003")
	c.ends()
}

// stopped requires that the service has ended well, and that its socket waits for
// the next client.
func stopped(t *testing.T, b *box.Box) {
	t.Helper()
	require.Equal(t, map[string]string{"ActiveState": "inactive", "Result": "success", "ExecMainCode": "1", "ExecMainStatus": "0"},
		b.Show(t, serviceUnit, "ActiveState", "Result", "ExecMainCode", "ExecMainStatus")) // CLD_EXITED
	require.Equal(t, map[string]string{"SubState": "listening", "Result": "success"},
		b.Show(t, socketUnit, "SubState", "Result"))
}

func TestAStopLetsALongCallEnd(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	c := dial(t, b)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep","params":{"ms":3000}}`)
	begun(t, b, 1)
	b.Systemctl(t, "stop", serviceUnit)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"slept"}`, c.line())
	c.ends()
	stopped(t, b)
}

// The service manager would kill at TimeoutStopSec=, but calls do end: it gives
// more time, up to the daemon's own limit.
func TestADrainThatMakesProgressGetsMoreTime(t *testing.T) {
	b := installed(t)
	fixture(t, b, "--drain-timeout=60s")
	b.DropIn(t, serviceUnit, "[Service]\nTimeoutStopSec=6s\n")
	c := dial(t, b)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep","params":{"ms":2500}}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"sleep","params":{"ms":8000}}`)
	begun(t, b, 2)
	took := timed(func() { b.Systemctl(t, "stop", serviceUnit) })
	require.Greater(t, took, 6*time.Second)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"slept"}`, c.line())
	require.Equal(t, `{"jsonrpc":"2.0","id":2,"result":"slept"}`, c.line())
	c.ends()
	stopped(t, b)
}

func TestACallThatNeverEndsIsCutOffAtTheDrainLimitAndLogged(t *testing.T) {
	b := installed(t)
	// TimeoutStopSec= is above the daemon's own limit: SIGKILL would be a failure.
	limit := time.Duration(soaking(2, 20)) * time.Second
	fixture(t, b, "--drain-timeout", limit.String())
	journal := b.Follow(t, serviceUnit)
	c := dial(t, b)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"hang"}`)
	begun(t, b, 1)
	start := time.Now()
	b.Systemctl(t, "stop", serviceUnit)
	require.InDelta(t, limit.Seconds(), time.Since(start).Seconds(), 2)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"the server is shutting down",`+
		`"data":{"reason":"shutting_down","scope":"server","executed":"unknown"}}}`, c.line())
	c.ends()
	entry := journal.Await(t, "call cut off")
	require.Contains(t, entry.Message, "method=hang")
	require.Contains(t, entry.Message, "uid=0")
	require.Equal(t, "4", entry.Priority)
	stopped(t, b)
}
