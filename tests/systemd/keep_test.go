package systemd

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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

// An upgrade and a downgrade.
func TestAcrossAVersionWithAnotherManifestConnectionsAreClosed(t *testing.T) {
	b := installed(t)
	configure(t, b, "keep_connections = true\n")
	other := otherVersion(t)
	t.Cleanup(func() { b.Install(t, box.Build(t, "../.."), binary) })
	journal := b.Follow(t, serviceUnit)
	c := dial(t, b)
	for _, next := range []string{other, box.Build(t, "../..")} {
		before := c.health()
		b.Install(t, next, binary)
		b.Systemctl(t, "restart", serviceUnit)
		c.ends()
		entry := journal.Await(t, "connections that the last process has left are closed")
		require.Contains(t, entry.Message, "connections=1")
		require.Contains(t, entry.Message, "another version of the daemon has written it")
		require.Equal(t, "4", entry.Priority)
		c = dial(t, b)
		require.NotEqual(t, before.PID, c.health().PID)
		require.Equal(t, "0", b.Show(t, serviceUnit, "NFileDescriptorStore")["NFileDescriptorStore"])
	}
}

// otherVersion builds a daemon that differs in the version of its manifest alone,
// and returns the path of its binary on the host.
func otherVersion(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	source := filepath.Join(root, "internal/daemon/manifest.go")
	content, err := os.ReadFile(source)
	require.NoError(t, err)
	const version = "const manifestVersion = "
	require.Contains(t, string(content), version)
	folder := t.TempDir()
	changed, overlay, program := filepath.Join(folder, "manifest.go"), filepath.Join(folder, "overlay.json"), filepath.Join(folder, "marianned")
	require.NoError(t, os.WriteFile(changed, []byte(strings.Replace(string(content), version, version+"1000 + ", 1)), 0o600))
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, replace, 0o600))
	command := exec.Command("go", "build", "-buildvcs=false", "-overlay", overlay, "-o", program, ".")
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
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
