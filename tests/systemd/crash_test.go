package systemd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
