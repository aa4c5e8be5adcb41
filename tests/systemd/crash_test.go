package systemd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// atOnce is within what a client notices the end of a process that was killed:
// the kernel closes its connections, and nothing waits for anything.
const atOnce = time.Second

// A process that dies takes its connections with it: silence would be worse.
func TestAfterAKillClientsSeeTheEndAtOnceAndTheNextIsServed(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	journal := b.Follow(t, serviceUnit)
	idle, waiting := dial(t, b), dial(t, b)
	first := idle.health()
	waiting.send(`{"jsonrpc":"2.0","id":1,"method":"hang"}`)
	begun(t, b, 1)

	start := time.Now()
	b.Systemctl(t, "kill", "--signal=KILL", serviceUnit)
	idle.ends()
	waiting.ends()
	require.Less(t, time.Since(start), atOnce)
	second := dial(t, b).health()
	require.NotEqual(t, first.PID, second.PID)
	journal.Await(t, "Main process exited, code=killed, status=9/KILL")
	require.Equal(t, map[string]string{"ActiveState": "active", "NRestarts": "1"}, b.Show(t, serviceUnit, "ActiveState", "NRestarts"))
	require.Equal(t, "running", b.Show(t, socketUnit, "SubState")["SubState"])
}

func TestAfterACrashInsideAHandlerTheNextIsServed(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	journal := b.Follow(t, serviceUnit)
	for range 3 {
		idle, crashing := dial(t, b), dial(t, b)
		before := idle.health()
		crashing.send(`{"jsonrpc":"2.0","id":1,"method":"crash"}`)
		idle.ends()
		crashing.ends()
		journal.Await(t, "panic: crash was called")
		journal.Await(t, "Failed with result 'exit-code'")
		require.NotEqual(t, before.PID, dial(t, b).health().PID)
	}
}

// Its process lives, and with it the goroutine that speaks to the service manager:
// that alone would be no sign that clients are answered.
func TestADaemonThatAnswersNoCallIsEndedByTheWatchdogAndComesBack(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	b.DropIn(t, serviceUnit, "[Service]\nWatchdogSec=2s\n")
	journal := b.Follow(t, serviceUnit)
	c, idle := dial(t, b), dial(t, b)
	first := idle.health()
	c.send(`{"jsonrpc":"2.0","id":1,"method":"wedge"}`)
	require.Contains(t, c.line(), "wedged")
	c.send(`{"jsonrpc":"2.0","id":2,"method":"rpc.ping"}`)
	c.ends()
	idle.ends()
	journal.Await(t, "Watchdog timeout")
	journal.Await(t, "SIGABRT: abort")
	journal.Await(t, "main.main()") // a stack of a goroutine that hung nowhere
	second := dial(t, b).health()
	require.NotEqual(t, first.PID, second.PID)
	require.Equal(t, "1", b.Show(t, serviceUnit, "NRestarts")["NRestarts"])
	require.Equal(t, "running", b.Show(t, socketUnit, "SubState")["SubState"])
}

// A stopped process answers nothing, the service manager included.
func TestADaemonThatHangsIsEndedByTheWatchdogAndComesBack(t *testing.T) {
	b := installed(t)
	b.DropIn(t, serviceUnit, "[Service]\nWatchdogSec=2s\n")
	journal := b.Follow(t, serviceUnit)
	c := dial(t, b)
	first := c.health()
	box.Await(t, "the daemon has said that it is alive", func() bool {
		return b.Show(t, serviceUnit, "WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"] != "0"
	})
	b.Systemctl(t, "kill", "--kill-who=main", "--signal=STOP", serviceUnit)
	c.ends()
	journal.Await(t, "Watchdog timeout")
	second := dial(t, b).health()
	require.NotEqual(t, first.PID, second.PID)
	require.Equal(t, "1", b.Show(t, serviceUnit, "NRestarts")["NRestarts"])
	require.Equal(t, "running", b.Show(t, socketUnit, "SubState")["SubState"])
}
