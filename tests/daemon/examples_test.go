package daemon

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const examples = "../../examples/methods.d"

// example returns a folder with one of the examples, in which some texts are
// replaced: paths of what a test has elsewhere, and who is allowed.
func example(t *testing.T, name string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name))
	require.NoError(t, err)
	for i := 0; i < len(replace); i += 2 {
		require.Contains(t, string(text), replace[i])
	}
	return methodsFolder(t, strings.NewReplacer(append(replace, `"user:root"`, `"everyone"`)...).Replace(string(text)))
}

// ask calls a method with the program's own client.
func ask(t *testing.T, path string, args ...string) (code int, said string) {
	t.Helper()
	p := command(t, "marianned", append([]string{"call", "--json", "--socket", path}, args...)...).wrapped(`"$@" >&2`).start()
	return p.exit(), p.said()
}

func TestEveryExampleIsWithoutMistakes(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.toml")
	require.NoError(t, err)
	require.Len(t, files, 6)
	for i := range files {
		files[i], err = filepath.Abs(files[i])
		require.NoError(t, err)
	}
	command(t, "marianned", append([]string{"check"}, files...)...).wrapped(`"$@" >&2`).start().
		refused(0, "no mistakes; files read: 6")
}

func TestTheExampleOfTheDiskTellsItsSpace(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	serve(t, path, "--methods", example(t, "disk.toml"))
	code, said := ask(t, path, "disk.usage", "path=/")
	require.Zero(t, code, said)
	var lines []string
	require.NoError(t, json.Unmarshal([]byte(said), &lines), said)
	require.Len(t, lines, 2)
	require.Regexp(t, `^ *\d+ +\d+ +\d+ +\d+% /$`, lines[1])

	for _, wrong := range []string{"path=-h", "path=", "path:=1", "pth=/"} {
		code, said = ask(t, path, "disk.usage", wrong)
		require.Equal(t, 1, code)
		require.Contains(t, said, "-32602", wrong)
	}
	code, said = ask(t, path, "disk.usage", "path=/no such; reboot")
	require.Equal(t, 1, code)
	require.Contains(t, said, `"exit_status":1`)
	require.Contains(t, said, "/no such; reboot")
}

// The example's server is any that speaks the protocol; this one is strict.
func TestTheExampleOfAnMCPServerReadsFiles(t *testing.T) {
	dir := folder(t)
	server := filepath.Join(dir, "server")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", server, "../../methods/worker/testdata/mcp").CombinedOutput()
	require.NoError(t, err, "%s", out)
	public := filepath.Join(dir, "public")
	require.NoError(t, os.Mkdir(public, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(public, "README"), []byte("Read\nme"), 0o644))

	path := filepath.Join(dir, "s")
	p := serve(t, path, "--methods", example(t, "mcp.toml", "/usr/local/bin/mcp-server-filesystem", server, "/srv/public", public))
	code, said := ask(t, path, "files.read", "path="+public+"/README")
	require.Zero(t, code, said)
	require.Equal(t, "\"Read\\nme\"\n", said)
	code, said = ask(t, path, "files.read", "path="+public+"/../s")
	require.Equal(t, 1, code)
	require.Contains(t, said, "escapes")
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit(), p.said())
	require.NotContains(t, p.said(), "protocol violation")
}

// The conductor is a daemon that speaks as Marianne's does.
func TestTheExampleOfMarianneAsksTheConductor(t *testing.T) {
	dir := folder(t)
	conductor, path := filepath.Join(dir, "c"), filepath.Join(dir, "s")
	inner := serve(t, conductor, "--methods", methodsFolder(t, `
[methods."job.list"]
allow = ["everyone"]
exec = ["/bin/echo", "[]"]
result = "json"
[methods."job.status"]
allow = ["everyone"]
exec = ["/bin/cat"]
stdin = "params"
result = "json"
params.properties.job_id = {}
`))
	serve(t, path, "--methods", example(t, "marianne.toml", "/run/marianne/conductor.sock", conductor))
	code, said := ask(t, path, "job.list")
	require.Equal(t, "[]\n", said)
	require.Zero(t, code)
	_, said = ask(t, path, "job.status", "job_id=a-1")
	require.Equal(t, "{\"job_id\":\"a-1\"}\n", said)
	_, said = ask(t, path, "job.status", "job_id=../x")
	require.Contains(t, said, "-32602")

	stream := dial(t, path)
	stream.send(`{"jsonrpc":"2.0","method":"job.monitor","id":"m"}`)
	started := stream.line()
	require.Contains(t, started, `"monitor.started"`)
	require.Contains(t, started, `"subscription":"m"`)

	inner.signal(syscall.SIGKILL)
	inner.exit()
	require.Contains(t, stream.line(), `"executed":"unknown"`)
	_, said = ask(t, path, "job.list")
	require.Contains(t, said, `"executed":"no"`)
}
