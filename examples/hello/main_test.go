package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain makes this program the example, where it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("HELLO_EXAMPLE") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func hello(t *testing.T, arguments ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append(os.Environ(), "HELLO_EXAMPLE=1")
	stderr := new(bytes.Buffer)
	command.Stderr = stderr
	t.Cleanup(func() {
		if command.Process != nil && command.ProcessState == nil {
			_ = command.Process.Kill()
			_ = command.Wait()
		}
	})
	return command, stderr
}

// ask connects as soon as somebody listens.
func ask(t *testing.T, path, request string) string {
	t.Helper()
	var conn net.Conn
	require.Eventually(t, func() (listening bool) {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	}, 10*time.Second, 5*time.Millisecond, "nobody listens on %s", path)
	defer conn.Close()
	_, err := io.WriteString(conn, request+"\n")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.UnixConn).CloseWrite())
	reply, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(reply)
}

const (
	request = `{"jsonrpc":"2.0","id":1,"method":"greet","params":{"name":"Marianne"}}`
	reply   = `{"jsonrpc":"2.0","id":1,"result":"hello, Marianne"}` + "\n"
)

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hello") // short: a socket's path has 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheExampleBindsAnswersAndEnds(t *testing.T) {
	path := filepath.Join(folder(t), "hello.sock")
	command, stderr := hello(t, path)
	require.NoError(t, command.Start())
	require.Equal(t, reply, ask(t, path, request))

	require.NoError(t, command.Process.Signal(syscall.SIGTERM))
	require.NoError(t, command.Wait(), stderr.String())
	require.NoFileExists(t, path)
}

func TestTheExampleWithoutAPathSaysWhatItNeeds(t *testing.T) {
	command, stderr := hello(t)
	require.Error(t, command.Run())
	require.Contains(t, stderr.String(), "expected an absolute path")
}

func TestTheExampleTakesASocketThatItInherits(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not installed")
	}
	path := filepath.Join(folder(t), "hello.sock")
	command := exec.Command(activate, "-l", path, "-E", "HELLO_EXAMPLE=1", os.Args[0])
	require.NoError(t, command.Start())
	defer command.Wait()
	defer command.Process.Signal(syscall.SIGTERM)
	require.Equal(t, reply, ask(t, path, request))
}

// TestTheReadmeShowsTheExample holds the text for beginners equal to the
// program that the tests above run.
func TestTheReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(readme), "```go\n")
	require.True(t, found, "README.md has no Go program")
	shown, _, _ := strings.Cut(after, "```")
	require.Equal(t, string(program), shown, "README.md and examples/hello/main.go differ")
	require.Contains(t, string(readme), request)
	require.Contains(t, string(readme), strings.TrimSpace(reply))
}
