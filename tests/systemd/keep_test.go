package systemd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// The binary is replaced meanwhile, as an upgrade of the package does.
func TestWithKeepConnectionsARestartIsNotNoticed(t *testing.T) {
	b := installed(t)
	configure(t, b, "keep_connections = true\n")
	journal := b.Follow(t, serviceUnit)
	idle, cut, large := dial(t, b), dial(t, b), dial(t, b)
	before := idle.health()
	require.Equal(t, before.PID, cut.health().PID)
	text := `{"jsonrpc":"2.0","id":2,"method":"rpc.echo","params":{"text":"` + strings.Repeat("x", 1<<20) + `"}}`
	write := func(c *client, part string) {
		_, err := c.Write([]byte(part))
		require.NoError(t, err)
	}
	write(cut, `{"jsonrpc":"2.0","id":1,`)
	write(large, text[:600<<10])
	b.Run(t, "sh", "-c", "cp "+binary+" "+binary+".new && mv "+binary+".new "+binary)
	b.Systemctl(t, "restart", serviceUnit)
	journal.Await(t, "goes on with what the last process has left")

	write(cut, `"method":"daemon.health"}`+"\n")
	require.Contains(t, cut.line(), `"status":"ok"`)
	write(large, text[600<<10:]+"\n")
	require.Contains(t, large.line(), strings.Repeat("x", 1<<20))
	after := idle.health()
	require.NotEqual(t, before.PID, after.PID)
	require.Equal(t, "0", b.Show(t, serviceUnit, "NFileDescriptorStore")["NFileDescriptorStore"], "nothing is left in the store")
}

func TestAStopClosesWhatIsKept(t *testing.T) {
	b := installed(t)
	configure(t, b, "keep_connections = true\n")
	c := dial(t, b)
	c.health()
	b.Systemctl(t, "stop", serviceUnit)
	c.ends()
	require.Equal(t, "success", b.Show(t, serviceUnit, "Result")["Result"])
}

func TestAfterACrashNothingIsKept(t *testing.T) {
	b := installed(t)
	configure(t, b, "keep_connections = true\n")
	c := dial(t, b)
	c.health()
	b.Systemctl(t, "restart", serviceUnit)
	box.Await(t, "the next process has taken the connection up", func() bool {
		return b.Show(t, serviceUnit, "NFileDescriptorStore")["NFileDescriptorStore"] == "0"
	})
	c.health()
	b.Systemctl(t, "kill", "--signal=KILL", serviceUnit)
	c.ends()
}
