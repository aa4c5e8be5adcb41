package activation

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// What concerns a whole process (fd 3, the environment, the umask, being
// killed) is tried in a child: this binary again, with childVariable set.
const (
	childVariable = "ACTIVATION_TEST_CHILD"
	argsVariable  = "ACTIVATION_TEST_ARGS"
)

var children = map[string]func() error{
	"become":     becomeChild,
	"inherit":    inheritChild,
	"connection": connectionChild,
	"grandchild": grandchild,
	"bind":       bindChild,
	"starts":     startsChild,
	"watch":      watchChild,
	"activated":  activatedChild,
}

func TestMain(m *testing.M) {
	if run, ok := children[os.Getenv(childVariable)]; ok {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	syscall.Umask(0o022)
	// What we were started with is not for the children to find.
	for fd := range descriptors() {
		if n, _ := strconv.Atoi(fd); n >= firstInherited {
			unix.CloseOnExec(n)
		}
	}
	// The runtime opens its poller with the first socket and keeps it.
	if l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@"}); err == nil {
		l.Close()
	}
	goleak.VerifyTestMain(m)
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the case changes owners")
	}
}

// asOrdinaryUser runs the calling test again as another user if this one is
// root, whom nothing is refused, and reports whether it did.
func asOrdinaryUser(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	const nobody = 65534
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("/tmp", "activation")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "test")
	require.NoError(t, os.WriteFile(path, binary, 0o755))
	pattern := strings.Split(t.Name(), "/")
	for i, part := range pattern {
		pattern[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	cmd := exec.CommandContext(t.Context(), path, "-test.v", "-test.run="+strings.Join(pattern, "/"))
	cmd.Dir = "/tmp"
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "HOME=/nonexistent")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name()+" ", "the test did not run")
	return true
}

// command returns a child that reads args from its environment.
func command(t *testing.T, name string, args any) *exec.Cmd {
	t.Helper()
	encoded, err := json.Marshal(args)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	// Under the race detector a process sleeps for a second before it exits.
	cmd.Env = append(os.Environ(), childVariable+"="+name, argsVariable+"="+string(encoded), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// run runs a child to its end and decodes what it printed.
func run(t *testing.T, cmd *exec.Cmd, report any) {
	t.Helper()
	out, err := cmd.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, report), "%s", out)
}

func childArgs(args any) error {
	return json.Unmarshal([]byte(os.Getenv(argsVariable)), args)
}

// conversation is a child that answers lines.
type conversation struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func converse(t *testing.T, cmd *exec.Cmd) *conversation {
	t.Helper()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &conversation{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		c.kill()
	})
	return c
}

func (c *conversation) say(v any) {
	c.t.Helper()
	require.NoError(c.t, json.NewEncoder(c.in).Encode(v))
}

func (c *conversation) hear(v any) {
	c.t.Helper()
	line, err := c.out.ReadBytes('\n')
	require.NoError(c.t, err)
	require.NoError(c.t, json.Unmarshal(line, v), "%s", line)
}

func (c *conversation) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// outcome is an error, as a child reports it.
type outcome struct {
	PID   int
	Text  string
	Kinds []string
}

var kinds = map[string]error{
	"ErrConfig":         ErrConfig,
	"ErrAlreadyRunning": ErrAlreadyRunning,
	"ErrCannotCreate":   ErrCannotCreate,
	"ErrNotPermitted":   ErrNotPermitted,
}

func outcomeOf(err error) outcome {
	o := outcome{PID: os.Getpid()}
	if err == nil {
		return o
	}
	o.Text = err.Error()
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			o.Kinds = append(o.Kinds, name)
		}
	}
	return o
}

// requireRefusal checks that err is of this kind only, and that its text has
// all of these parts.
func requireRefusal(t *testing.T, err error, kind error, parts ...string) {
	t.Helper()
	require.Error(t, err)
	for name, other := range kinds {
		require.Equal(t, other == kind, errors.Is(err, other), "%s for: %v", name, err)
	}
	for _, part := range parts {
		require.Contains(t, err.Error(), part)
	}
	require.NotContains(t, err.Error(), "%!")
}

// newDir returns a short, trusted, real directory: t.TempDir would make the
// path of a test with a sentence for its name too long for a socket.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "act")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	return dir
}

// descriptors returns our open descriptors and what they lead to.
func descriptors() map[string]string {
	found := map[string]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			found[entry.Name()] = link
		}
	}
	return found
}

// requireNoNewDescriptors checks that f leaves none open. No test of the
// package runs in parallel with another.
func requireNoNewDescriptors(t *testing.T, f func()) {
	t.Helper()
	runtime.GC() // garbage with descriptors goes now, not in between
	before := descriptors()
	f()
	for fd, link := range descriptors() {
		if before[fd] != link {
			t.Errorf("file descriptor %s is left open: %s", fd, link)
		}
	}
}

// inheritable returns our descriptors from 3 on that a child would get.
func inheritable() []string {
	var found []string
	for fd, link := range descriptors() {
		if n, _ := strconv.Atoi(fd); n >= firstInherited && wasPassed(n) {
			found = append(found, fd+" "+link)
		}
	}
	return found
}

func managerVariables() []string {
	var found []string
	for _, v := range os.Environ() {
		for _, prefix := range []string{"LISTEN_", "NOTIFY_", "WATCHDOG_"} {
			if strings.HasPrefix(v, prefix) {
				found = append(found, v)
			}
		}
	}
	return found
}

func lstat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st), path)
	return st
}

func permissions(t *testing.T, path string) fs.FileMode {
	t.Helper()
	return fs.FileMode(lstat(t, path).Mode & 0o7777)
}

// requireAnswers checks that a client gets through to the listener.
func requireAnswers(t *testing.T, path string, listener *net.UnixListener) {
	t.Helper()
	client, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer client.Close()
	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(client, make([]byte, 1))
	require.NoError(t, err)
}

func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(bytes.TrimSpace(content))
}
