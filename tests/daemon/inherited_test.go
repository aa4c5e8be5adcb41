package daemon

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnInheritedSocketIsServedAndLeftAsItIs(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	f := listenFile(t, "unix", path)
	require.NoError(t, os.Chmod(path, 0o604))
	before, err := os.Lstat(path)
	require.NoError(t, err)
	for range 2 { // the next start serves the same socket
		p := inherit(t, command(t, "marianned", "serve"), []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=rpc"}, f)
		p.answers(path)
		p.signal(syscall.SIGTERM)
		require.Zero(t, p.exit(), p.said())
		after, err := os.Lstat(path)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))
		require.Equal(t, before.Mode(), after.Mode())
		dial(t, path).send(`{"jsonrpc":"2.0","method":"rpc.ping"}`) // waits in the backlog
	}
}

func TestSocketsForAnotherProcessAreNotTaken(t *testing.T) {
	dir := folder(t)
	f := listenFile(t, "unix", filepath.Join(dir, "inherited"))
	bound := filepath.Join(dir, "bound")
	p := inherit(t, command(t, "marianned", "serve", "--socket", bound), []string{"LISTEN_FDS=1", "PID=1"}, f)
	p.answers(bound)
}

func TestWhatIsNoSocketOfOursIsRefusedSayingWhatTheUnitMustSay(t *testing.T) {
	dir := folder(t)
	unixFile := func(t *testing.T) *os.File { return listenFile(t, "unix", filepath.Join(folder(t), "s")) }
	typed := func(domain, kind int) func(*testing.T) *os.File {
		return func(t *testing.T) *os.File {
			fd, err := syscall.Socket(domain, kind|syscall.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			f := os.NewFile(uintptr(fd), "socket")
			t.Cleanup(func() { _ = f.Close() })
			if domain == syscall.AF_UNIX {
				require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(folder(t), "s")}))
			}
			if kind != syscall.SOCK_DGRAM {
				require.NoError(t, syscall.Listen(fd, 10))
			}
			return f
		}
	}
	accepted := func(t *testing.T) *os.File {
		l, err := net.Listen("unix", filepath.Join(folder(t), "s"))
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		near := dial(t, l.Addr().String())
		far, err := l.Accept()
		require.NoError(t, err)
		defer func() { _ = far.Close() }()
		require.NotNil(t, near)
		f, err := far.(*net.UnixConn).File()
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	for name, c := range map[string]struct {
		file func(*testing.T) *os.File
		env  []string
		says []string
	}{
		"more descriptors announced than open": {unixFile, []string{"LISTEN_FDS=40"}, []string{"announces 40 file descriptors", "was not passed"}},
		"far too many":                         {unixFile, []string{"LISTEN_FDS=1000000"}, []string{"1000000"}},
		"no number":                            {unixFile, []string{"LISTEN_FDS=one"}, []string{`LISTEN_FDS is "one"`}},
		"names that do not match":              {unixFile, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=rpc:admin"}, []string{"LISTEN_FDNAMES has 2 names", "1 file descriptors"}},
		"a name that means nothing":            {unixFile, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=http"}, []string{`"http"`, "FileDescriptorName=rpc"}},
		"an inet socket":                       {typed(syscall.AF_INET, syscall.SOCK_STREAM), []string{"LISTEN_FDS=1"}, []string{"expected a Unix socket", "ListenStream=/"}},
		"a datagram socket":                    {typed(syscall.AF_UNIX, syscall.SOCK_DGRAM), []string{"LISTEN_FDS=1"}, []string{"datagram socket", "ListenStream=/"}},
		"a seqpacket socket":                   {typed(syscall.AF_UNIX, syscall.SOCK_SEQPACKET), []string{"LISTEN_FDS=1"}, []string{"seqpacket", "ListenStream=/"}},
		"an accepted connection":               {accepted, []string{"LISTEN_FDS=1"}, []string{"Accept=yes", "Accept=no"}},
		"a regular file": {func(t *testing.T) *os.File {
			f, err := os.Create(filepath.Join(dir, "file"))
			require.NoError(t, err)
			t.Cleanup(func() { _ = f.Close() })
			return f
		}, []string{"LISTEN_FDS=1"}, []string{"a regular file"}},
	} {
		t.Run(name, func(t *testing.T) {
			notify := listenNotify(t)
			env := append(c.env, "NOTIFY_SOCKET="+notify.path)
			p := inherit(t, command(t, "marianned", "serve", "--socket", filepath.Join(dir, "never")), env, c.file(t))
			p.refused(78, c.says...)
			require.NotEmpty(t, notify.until("STATUS="))
			gone(t, filepath.Join(dir, "never")) // never silently the other way
		})
	}
}

func TestAChildSeesNothingOfTheServiceManager(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	notify := listenNotify(t)
	p := inherit(t, command(t, "embedder"), []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=rpc", "NOTIFY_SOCKET=" + notify.path}, listenFile(t, "unix", path))
	notify.until("READY=1")
	c := dial(t, path)
	c.send(`{"jsonrpc":"2.0","method":"spawn","id":1}`)
	var r struct{ Result string }
	require.NoError(t, json.Unmarshal([]byte(c.line()), &r), p.said())
	require.Contains(t, r.Result, "PATH=")
	for _, name := range []string{"LISTEN_", "NOTIFY_SOCKET", "socket:"} {
		require.NotContains(t, r.Result, name)
	}
}

func TestEveryDescriptorOfTheDaemonIsClosedOnExec(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := inherit(t, command(t, "marianned", "serve"), []string{"LISTEN_FDS=1"}, listenFile(t, "unix", path))
	p.answers(path)
	dial(t, path)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fdinfo", p.cmd.Process.Pid))
	require.NoError(t, err)
	looked := 0
	for _, e := range entries {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.cmd.Process.Pid, e.Name()))
		if err != nil || (!strings.HasPrefix(target, "socket:") && !strings.HasPrefix(target, "anon_inode:")) {
			continue // what the test's own parents left open
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", p.cmd.Process.Pid, e.Name()))
		if os.IsNotExist(err) {
			continue // closed meanwhile
		}
		require.NoError(t, err)
		_, flags, _ := strings.Cut(string(info), "flags:\t")
		flags, _, _ = strings.Cut(flags, "\n")
		var bits int
		_, err = fmt.Sscanf(flags, "%o", &bits)
		require.NoError(t, err)
		require.NotZero(t, bits&syscall.O_CLOEXEC, "descriptor %s: flags %s", e.Name(), flags)
		looked++
	}
	require.NotZero(t, looked)
}

func TestSystemdSocketActivateStartsItForItsFirstClient(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("needs systemd-socket-activate: apt-get install systemd")
	}
	socat, err := exec.LookPath("socat")
	if err != nil {
		t.Skip("needs socat: apt-get install socat")
	}
	for name, ask := range map[string]func(path string) *exec.Cmd{
		"socat": func(path string) *exec.Cmd {
			cmd := exec.Command(socat, "-", "UNIX-CONNECT:"+path)
			cmd.Stdin = strings.NewReader(`{"jsonrpc":"2.0","method":"daemon.health","id":1}` + "\n")
			return cmd
		},
		"marianned call": func(path string) *exec.Cmd {
			return exec.Command(filepath.Join(binaries, "marianned"), "call", "--socket", path, "daemon.health")
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			p := command(t, "marianned", "serve")
			p.cmd.Args = append([]string{"systemd-socket-activate", "-l", path, p.cmd.Path}, p.cmd.Args[1:]...)
			p.cmd.Path = activate
			p.start()
			require.Eventually(t, func() bool {
				_, err := os.Lstat(path)
				return err == nil
			}, patience, 1e6)
			var out []byte
			require.Eventually(t, func() bool { // between bind and listen nobody answers
				out, err = ask(path).CombinedOutput()
				return err == nil
			}, patience, 1e6)
			require.Contains(t, strings.ReplaceAll(string(out), " ", ""), `"status":"ok"`, "%s", p.said())
			// The accept loop may be faster than the log.
			require.Eventually(t, func() bool { return strings.Contains(p.said(), "serving") }, patience, 1e6, "%s", p.said())
		})
	}
}

func TestAnIdleDaemonExitsAndSaysSo(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	notify := listenNotify(t)
	p := inherit(t, command(t, "marianned", "serve", "--idle-exit", "5s"), []string{"LISTEN_FDS=1", "NOTIFY_SOCKET=" + notify.path}, listenFile(t, "unix", path))
	require.Contains(t, notify.until("READY=1"), "STATUS=connections 0, in flight 0, total 0")
	p.answers(path)
	require.Contains(t, notify.until("STOPPING=1"), "STATUS=idle for 5s")
	require.Zero(t, p.exit(), p.said())
}
