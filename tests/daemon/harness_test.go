package daemon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long what must happen may take. Nothing passes by waiting.
const patience = 30 * time.Second

const nobody = 65534

var binaries string // the folder of marianned and embedder, which everybody may read

func TestMain(m *testing.M) {
	syscall.Umask(0o022)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("/tmp", "daemon")
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binaries = dir
		for name, source := range map[string]string{"marianned": "../..", "embedder": "./embedder"} {
			if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, name), source).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a second user takes part")
	}
}

// folder returns a folder of the test's that may be a socket's parent: none of
// t.TempDir's own may be too long for a path of 107 bytes.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "d")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// process is a program that the test started and ends.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	ended  chan struct{}
	mu     sync.Mutex
	stderr bytes.Buffer
}

// Write takes in what the program says on stderr.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// command returns a program that is not started yet.
func command(t testing.TB, name string, args ...string) *process {
	p := &process{t: t, cmd: exec.Command(filepath.Join(binaries, name), args...), ended: make(chan struct{})}
	p.cmd.Dir = "/"
	p.cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	p.cmd.Stderr = p
	return p
}

// wrapped runs the program through a line of shell, in which "$@" is it.
func (p *process) wrapped(shell string) *process {
	p.cmd.Args = append([]string{"sh", "-c", shell, "sh"}, append([]string{p.cmd.Path}, p.cmd.Args[1:]...)...)
	p.cmd.Path = "/bin/sh"
	return p
}

func (p *process) as(uid uint32) *process {
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return p
}

func (p *process) start() *process {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // its exit code is looked at where it matters
		close(p.ended)
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(sig))
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(p.t, "the program does not end", p.said())
	}
	return p.cmd.ProcessState.ExitCode()
}

// refused requires the program to end with code, saying all parts.
func (p *process) refused(code int, parts ...string) {
	p.t.Helper()
	require.Equal(p.t, code, p.exit(), p.said())
	for _, part := range parts {
		require.Contains(p.t, p.said(), part)
	}
}

// serve starts marianned on path, whatever the configuration of this machine, and
// waits until it answers.
func serve(t testing.TB, path string, flags ...string) *process {
	t.Helper()
	p := command(t, "marianned", append([]string{"serve", "--config", os.DevNull, "--socket", path}, flags...)...).start()
	p.answers(path)
	return p
}

func (p *process) answers(path string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		nc, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		defer func() { _ = nc.Close() }()
		_, err = nc.Write([]byte(`{"jsonrpc":"2.0","method":"rpc.ping","id":1}` + "\n"))
		if err == nil {
			_, err = nc.Read(make([]byte, 100))
		}
		return err == nil
	}, patience, time.Millisecond, "%s", lazy(p.said))
}

type lazy func() string

func (l lazy) String() string { return l() }

// client sees the wire.
type client struct {
	t *testing.T
	*net.UnixConn
	lines *bufio.Reader
}

func dial(t *testing.T, path string) *client {
	t.Helper()
	nc, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	return &client{t, nc.(*net.UnixConn), bufio.NewReaderSize(nc, 1<<20)}
}

func (c *client) send(line string) {
	c.t.Helper()
	_, err := c.Write([]byte(line + "\n"))
	require.NoError(c.t, err)
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(c.t, err, "read %.200q", line)
	return strings.TrimSuffix(line, "\n")
}

// result sends a line and decodes the result of its reply.
func (c *client) result(line string) map[string]any {
	c.t.Helper()
	c.send(line)
	var r struct {
		Result map[string]any
		Error  any
	}
	reply := c.line()
	require.NoError(c.t, json.Unmarshal([]byte(reply), &r), reply)
	require.Nil(c.t, r.Error, reply)
	return r.Result
}

// notifySocket is a service manager's end of sd_notify(3).
type notifySocket struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func listenNotify(t *testing.T) *notifySocket {
	t.Helper()
	path := filepath.Join(folder(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &notifySocket{t, path, conn}
}

// until reads messages until one has the prefix, and returns it.
func (n *notifySocket) until(prefix string) string {
	n.t.Helper()
	require.NoError(n.t, n.conn.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 4096)
	for {
		k, err := n.conn.Read(buf)
		require.NoError(n.t, err, "no message with %q", prefix)
		if message := string(buf[:k]); strings.HasPrefix(message, prefix) {
			return message
		}
	}
}

// inherit starts a program with files as descriptors 3 and on, as a service
// manager does.
func inherit(t *testing.T, p *process, env []string, files ...*os.File) *process {
	t.Helper()
	p.wrapped(`export LISTEN_PID=${PID:-$$}; unset PID; exec "$@"`)
	p.cmd.ExtraFiles = files
	p.cmd.Env = append(p.cmd.Env, env...)
	return p.start()
}

// listenFile returns a listening socket at path for a program to inherit.
func listenFile(t *testing.T, network, path string) *os.File {
	t.Helper()
	l, err := net.Listen(network, path)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	if ul, ok := l.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func gone(t *testing.T, path string) {
	t.Helper()
	_, err := os.Lstat(path)
	require.True(t, errors.Is(err, os.ErrNotExist), "%s is still there: %v", path, err)
}
