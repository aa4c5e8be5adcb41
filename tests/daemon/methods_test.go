package daemon

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// methodsFolder returns a folder of methods that hold for everybody.
func methodsFolder(t testing.TB, text string) string {
	t.Helper()
	dir := folder(t)
	writeMethods(t, dir, text)
	return dir
}

func writeMethods(t testing.TB, dir, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m.toml"), []byte(text), 0o644))
}

func TestABrokenFileOfMethodsEndsTheStart(t *testing.T) {
	dir := methodsFolder(t, "[methods.x]\nexec = [\"/bin/true\", \"{pth}\"]\nparams.properties.path = {}\n")
	notify := listenNotify(t)
	p := command(t, "marianned", "serve", "--socket", filepath.Join(folder(t), "s"), "--methods", dir)
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+notify.path)
	p.start()
	said := dir + `/m.toml:2:22: the placeholder {pth} is no parameter of this method; did you mean {path}?`
	p.refused(78, said)
	require.Contains(t, notify.until("STATUS="), said)
}

func TestAFolderThatIsNotThereIsAWrongCommandLine(t *testing.T) {
	command(t, "marianned", "serve", "--methods", "/nowhere").start().
		refused(64, `--methods is "/nowhere", expected a folder that is there`)
}

func TestACallerMustBeAllowed(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(folder(t), "s")
	p := serve(t, path, "--mode", "0666", "--methods", methodsFolder(t, `
[methods.who]
exec = ["/usr/bin/printenv", "MARIANNED_UID", "MARIANNED_METHOD"]
allow = ["uid:65534"]
result = "lines"
[methods.closed]
exec = ["/bin/true"]
deny = ["uid:65534"]
allow = ["everyone"]
[methods.told]
exec = ["/bin/true"]
hidden = false
`))
	call := func(method string) *process {
		return command(t, "marianned", "call", "--socket", path, "--json", method).as(nobody)
	}
	out := call("who").wrapped(`"$@" >&2`).start()
	require.Zero(t, out.exit(), out.said())
	require.Equal(t, "[\"65534\",\"who\"]\n", out.said())
	call("closed").start().refused(1, `method \"closed\" not found`)
	call("told").start().refused(77, `not authorised to call`)
	require.Contains(t, p.said(), `msg="call denied"`)
	require.Contains(t, p.said(), `why="deny has \"uid:65534\""`)

	c := dial(t, path)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"who"}`)
	require.Contains(t, c.line(), "-32601", "root is not in allow")
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit())
}

func TestReloadWaitsForTheFilesAndSaysWhatIsWrongWithThem(t *testing.T) {
	path, dir := filepath.Join(folder(t), "s"), methodsFolder(t, "[methods.say]\nexec = [\"/bin/echo\", \"old\"]\nallow = [\"everyone\"]\n")
	p := serve(t, path, "--methods", dir)
	c := dial(t, path)
	say := func() string {
		c.send(`{"jsonrpc":"2.0","id":1,"method":"say"}`)
		return c.line()
	}
	reload := func(flags ...string) *process {
		return command(t, "marianned", append([]string{"reload", "--socket", path}, flags...)...).wrapped(`"$@" >&2`).start()
	}
	require.Contains(t, say(), `"old\n"`)

	writeMethods(t, dir, "[methods.say]\nexec = [\"/bin/echo\", \"new\"]\nsummry = \"x\"\nallow = [\"everyone\"]\n")
	reload().refused(78, "reload: nothing has changed:\n"+dir+`/m.toml:3:1: `, "summary")
	require.Contains(t, say(), `"old\n"`)
	reload("--json").refused(78, `{"code":-32004,`, `"executed":"no"`)

	writeMethods(t, dir, "[methods.say]\nexec = [\"/nowhere\"]\nallow = [\"everyone\"]\n[methods.more]\nexec = [\"/bin/true\"]\n")
	reload().refused(0, "reloaded: 1 files, 2 methods\n", dir+"/m.toml:2:9: warning: the program: ")
	require.Contains(t, say(), "-32603", "on the connection that was there before")
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit(), p.said())
}
