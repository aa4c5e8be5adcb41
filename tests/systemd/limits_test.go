package systemd

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// A daemon that fails at its start is started again each second: its clients
// wait, and are served once it can.
func TestClientsWaitForADaemonThatFailsAtItsStart(t *testing.T) {
	b := installed(t)
	journal := b.Follow(t, serviceUnit)
	b.DropIn(t, serviceUnit, "[Service]\nExecStartPre=/usr/bin/test -e /run/repaired\n")
	c := dial(t, b)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"rpc.ping"}`)
	for range 3 {
		journal.Await(t, "Failed with result 'exit-code'")
	}
	b.Write(t, "/run/repaired", "")
	t.Cleanup(func() { b.Run(t, "rm", "/run/repaired") })
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"pong"}`, c.line())
	require.Equal(t, "success", b.Show(t, socketUnit, "Result")["Result"])
}

// What trying again would not change is not tried by the service itself, but by the
// client that waits in the socket: the start limit ends that.
func TestADaemonThatCanNeverStartFailsItsSocketAndIsBroughtBack(t *testing.T) {
	b := installed(t)
	journal := b.Follow(t, serviceUnit, socketUnit)
	path := "/run/broken"
	b.Write(t, path, "")
	b.DropIn(t, serviceUnit, "[Service]\nExecStart=\n"+
		"ExecStart=/bin/sh -c 'test -e "+path+" && exec "+binary+" serve --idle-exit=1ns; exec "+binary+" serve'\n")
	c := dial(t, b)
	start := time.Now()
	entry := journal.AwaitWhere(t, "failure of the socket", func(e box.Entry) bool {
		return e.Of == socketUnit && e.Priority == "4"
	})
	require.Contains(t, entry.Message, "service-start-limit-hit")
	require.Less(t, time.Since(start), 10*time.Second)
	_, err := io.ReadAll(c.lines)
	require.Error(t, err, "who waited is told")

	require.Contains(t, b.Show(t, serviceUnit, "StatusText")["StatusText"], "idle-exit is 1ns")

	b.Run(t, "rm", path)
	// units/README.md, "When it does not start".
	b.Systemctl(t, "reset-failed", serviceUnit, socketUnit)
	b.Systemctl(t, "start", socketUnit)
	require.Equal(t, "ok", dial(t, b).health().Status)
}
