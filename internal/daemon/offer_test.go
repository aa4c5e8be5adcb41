package daemon

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/config"
)

// folderWith returns a folder of methods with one file.
func folderWith(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, text)
	return dir
}

func write(t testing.TB, dir, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m.toml"), []byte(text), 0o600))
}

const hello = `
[methods.hello]
exec = ["/bin/echo", "hello", "{name}"]
allow = ["everyone"]
params.properties.name = { type = "string" }
`

func TestTheOperatorsMethodsAreServed(t *testing.T) {
	p := runDaemon(t, Config{MethodFolders: []string{folderWith(t, hello)}})
	p.told(t)
	c := p.dial(t)
	require.Equal(t, `"hello you\n"`, string(c.call("hello", `{"name":"you"}`).Result))
	require.Contains(t, string(c.call("rpc.discover", "").Result), `"hello"`)
	require.Contains(t, p.log.String(), "files=1 methods=1")
	p.cancel()
	require.NoError(t, <-p.ended)
}

func TestABrokenFileOfMethodsEndsTheStartAndIsNamed(t *testing.T) {
	dir := folderWith(t, "[methods.x]\nexec = [\"/bin/true\"]\nalow = [\"everyone\"]\n")
	p := runDaemon(t, Config{MethodFolders: []string{dir}})
	err := <-p.ended
	require.ErrorIs(t, err, config.ErrInvalid)
	require.ErrorContains(t, err, filepath.Join(dir, "m.toml")+":3:1: ")
	require.ErrorContains(t, err, "allow")
	told := p.told(t)
	require.True(t, strings.HasPrefix(told, "STATUS=methods: "+dir), told)
	require.Contains(t, told, "m.toml:3:1: ")
}

// The test is no daemon of the system's.
func TestAMethodThatRunsAsAnotherUserIsRefusedWhereNobodyCouldRunIt(t *testing.T) {
	dir := folderWith(t, "[methods.x]\nexec = [\"/bin/true\"]\nuser = \"root\"\n")
	p := runDaemon(t, Config{MethodFolders: []string{dir}})
	err := <-p.ended
	require.ErrorIs(t, err, config.ErrInvalid)
	require.ErrorContains(t, err, filepath.Join(dir, "m.toml")+":3:1: the program is to run as another user, but systemd runs none for this daemon: /run/marianned-exec.sock: ")

	socket := filepath.Join(t.TempDir(), "s")
	require.Contains(t, outsideOf(socket).Why, "no such file")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, socket, outsideOf(socket).Socket)
	require.Contains(t, outsideOf(dir).Why, "it is no socket of this daemon's user")
}

func TestTheSocketThatACallerCameThroughCounts(t *testing.T) {
	dir := folderWith(t, hello+"sockets = [\"admin\"]\n")
	cfg := Config{MethodFolders: []string{dir}}
	f := start(t, cfg)
	require.Equal(t, "hello", f.call(f.admin, "hello"))
	require.Equal(t, -32601, f.dial(f.listener).call("hello", "").Error.Code)
	f.terminate <- syscall.SIGTERM
	require.NoError(t, <-f.ended)
}

// call returns the text that a method answers.
func (f *fixture) call(l *memory, method string) string {
	f.t.Helper()
	r := f.dial(l).call(method, "")
	require.Nil(f.t, r.Error)
	var text string
	require.NoError(f.t, json.Unmarshal(r.Result, &text))
	return strings.TrimSpace(text)
}

func TestAStopEndsProgramsThatRun(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "pid")
	p := runDaemon(t, Config{MethodFolders: []string{folderWith(t, `
[methods.slow]
allow = ["everyone"]
exec = ["/bin/sh", "-c", "echo $$ >`+mark+`; trap '' TERM; while :; do sleep 1000; done"]
`)}})
	p.told(t)
	c := p.dial(t)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"slow"}`)
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(mark)
		return strings.HasSuffix(string(text), "\n")
	}, patience, time.Millisecond)
	began := time.Now()
	p.cancel() // the drain timeout is 0
	require.NoError(t, <-p.ended)
	require.Less(t, time.Since(began), 2*time.Second)
	text, err := os.ReadFile(mark)
	require.NoError(t, err)
	_, err = os.Stat("/proc/" + strings.TrimSpace(string(text)))
	require.ErrorIs(t, err, os.ErrNotExist)
}
