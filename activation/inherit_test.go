package activation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// passed is the environment that a service manager would set; nil is absent.
// In pid and pidfdID, "own" stands for the child's own.
type passed struct {
	PID, PidfdID, FDs, Names *string

	Then string // the child to become; "" for the one that calls Inherit
}

func text(s string) *string { return &s }

// becomeChild sets the environment of its own pid and becomes the child that
// calls Inherit, with the descriptors it was given.
func becomeChild() error {
	var env passed
	if err := childArgs(&env); err != nil {
		return err
	}
	own := map[string]string{"LISTEN_PID": strconv.Itoa(os.Getpid())}
	if id, ok := ownPidfdID(); ok {
		own["LISTEN_PIDFDID"] = strconv.FormatUint(id, 10)
	}
	for key, value := range map[string]*string{
		"LISTEN_PID": env.PID, "LISTEN_PIDFDID": env.PidfdID, "LISTEN_FDS": env.FDs, "LISTEN_FDNAMES": env.Names,
	} {
		if value == nil {
			continue
		}
		if *value == "own" {
			value = text(own[key])
		}
		os.Setenv(key, *value)
	}
	os.Setenv(childVariable, cmp.Or(env.Then, "inherit"))
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

type inheritReport struct {
	Outcome     outcome
	Sockets     []socketReport
	Stored      []string // "name: content"
	Variables   []string // of the service manager, still set
	Inheritable []string // descriptors that an execve would keep
	Grandchild  grandchildReport
}

type socketReport struct {
	Name, Path, Addr string
	Inherited        bool
	TimesOut         bool // a deadline in the past ends Accept
	Accepts          bool // the connection in the backlog
}

type grandchildReport struct {
	Variables, Descriptors []string
}

func inheritChild() error {
	sockets, stored, err := InheritStored()
	report := inheritReport{
		Outcome:     outcomeOf(err),
		Variables:   managerVariables(),
		Inheritable: inheritable(),
	}
	for _, s := range sockets {
		r := socketReport{Name: s.Name, Path: s.Path, Inherited: s.Inherited, Addr: s.Listener.Addr().String()}
		s.Listener.SetDeadline(time.Unix(1, 0))
		_, err := s.Listener.Accept()
		r.TimesOut = errors.Is(err, os.ErrDeadlineExceeded)
		s.Listener.SetDeadline(time.Now().Add(10 * time.Second))
		conn, err := s.Listener.Accept()
		if r.Accepts = err == nil; r.Accepts {
			conn.Close()
		}
		report.Sockets = append(report.Sockets, r)
	}
	for _, file := range stored {
		content, err := io.ReadAll(file)
		if err != nil {
			return err
		}
		report.Stored = append(report.Stored, file.Name()+": "+string(content))
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"=grandchild")
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, &report.Grandchild); err != nil {
		return err
	}
	for _, s := range sockets {
		if err := s.Close(); err != nil {
			return err
		}
	}
	return writeJSON(os.Stdout, report)
}

func grandchild() error {
	return writeJSON(os.Stdout, grandchildReport{Variables: managerVariables(), Descriptors: inheritable()})
}

// inherit runs a child with these files from descriptor 3 on.
func inherit(t *testing.T, env passed, files ...*os.File) inheritReport {
	t.Helper()
	cmd := command(t, "become", env)
	cmd.ExtraFiles = files
	var report inheritReport
	run(t, cmd, &report)
	require.Empty(t, report.Variables, "every LISTEN_ variable is unset in every case")
	require.Empty(t, report.Grandchild.Variables)
	return report
}

// opened is a socket that the test keeps open, as the service manager would.
type opened struct {
	path     string
	listener *net.UnixListener
	file     *os.File // to pass
	client   net.Conn // waits in the backlog
}

func openListener(t *testing.T, name string) opened {
	t.Helper()
	path := filepath.Join(newDir(t), name)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	t.Cleanup(func() { listener.Close() })
	file, err := listener.File()
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	client, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	return opened{path: path, listener: listener, file: file, client: client}
}

func rawSocket(t *testing.T, domain, kind int) *os.File {
	t.Helper()
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { file.Close() })
	return file
}

func TestASocketPassedByTheServiceManagerIsServedAndGivenBack(t *testing.T) {
	for name, names := range map[string]*string{
		"named rpc":                        text("rpc"),
		"without LISTEN_FDNAMES":           nil,
		"with an empty name":               text(""),
		"with the name for none":           text("unknown"),
		"with the name of its socket unit": text("marianned.socket"),
	} {
		t.Run(name, func(t *testing.T) {
			o := openListener(t, "rpc.sock")
			require.NoError(t, os.Chmod(o.path, 0o604))
			before := lstat(t, o.path)

			report := inherit(t, passed{PID: text("own"), FDs: text("1"), Names: names}, o.file)

			require.Empty(t, report.Outcome.Text)
			require.Equal(t, []socketReport{{
				Name: "rpc", Path: o.path, Addr: o.path, Inherited: true, TimesOut: true, Accepts: true,
			}}, report.Sockets)
			require.Empty(t, report.Inheritable, "the descriptors are close-on-exec")
			require.Empty(t, report.Grandchild.Descriptors)

			after := lstat(t, o.path)
			require.Equal(t, before.Ino, after.Ino, "the node stays")
			require.Equal(t, before.Mode, after.Mode)
			requireAnswers(t, o.path, o.listener)
		})
	}
}

func TestTwoSocketsAreToldApartByTheirNames(t *testing.T) {
	admin, rpc := openListener(t, "admin.sock"), openListener(t, "rpc.sock")
	report := inherit(t, passed{PID: text("own"), FDs: text("2"), Names: text("admin:marianned.socket")}, admin.file, rpc.file)
	require.Empty(t, report.Outcome.Text)
	require.Len(t, report.Sockets, 2)
	require.Equal(t, "admin", report.Sockets[0].Name)
	require.Equal(t, admin.path, report.Sockets[0].Path)
	require.Equal(t, "rpc", report.Sockets[1].Name)
	require.Equal(t, rpc.path, report.Sockets[1].Path)
}

func temporary(t *testing.T, content string) *os.File {
	t.Helper()
	path := filepath.Join(newDir(t), "file")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

func TestWhatWasStoredIsToldFromSockets(t *testing.T) {
	rpc := openListener(t, "rpc.sock")
	names, files := []string{"stored-a", "rpc", "stored-b"}, []*os.File{temporary(t, "one"), rpc.file, temporary(t, "two")}
	want := []string{"stored-a: one", "stored-b: two"}
	for i := range 100 { // more than there may be sockets
		names, files = append(names, "stored-c"), append(files, temporary(t, strconv.Itoa(i)))
		want = append(want, "stored-c: "+strconv.Itoa(i))
	}
	report := inherit(t, passed{PID: text("own"), FDs: text(strconv.Itoa(len(files))), Names: text(strings.Join(names, ":"))}, files...)
	require.Empty(t, report.Outcome.Text)
	require.Len(t, report.Sockets, 1)
	require.Equal(t, rpc.path, report.Sockets[0].Path)
	require.Equal(t, want, report.Stored)
	require.Empty(t, report.Inheritable)
	require.Empty(t, report.Grandchild.Descriptors)
}

func TestSocketsForAnotherProcessAreLeftAlone(t *testing.T) {
	for name, env := range map[string]passed{
		"LISTEN_PID is another process":     {PID: text("1"), FDs: text("1"), Names: text("rpc")},
		"LISTEN_PIDFDID is another process": {PID: text("own"), PidfdID: text("7"), FDs: text("1")},
		"LISTEN_PID is absent":              {FDs: text("1"), Names: text("rpc")},
		"LISTEN_FDS is absent":              {PID: text("own"), Names: text("rpc")},
		"nothing is set":                    {},
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := ownPidfdID(); !ok && env.PidfdID != nil {
				t.Skip("needs pidfs: Linux 6.9")
			}
			o := openListener(t, "rpc.sock")
			report := inherit(t, env, o.file)
			require.Empty(t, report.Outcome.Text)
			require.Empty(t, report.Sockets)
			require.Len(t, report.Inheritable, 1, "the descriptor is not ours to close or to mark")
		})
	}
}

func TestTheInodeOfOurOwnPidfdIsAccepted(t *testing.T) {
	if _, ok := ownPidfdID(); !ok {
		t.Skip("needs pidfs: Linux 6.9")
	}
	o := openListener(t, "rpc.sock")
	report := inherit(t, passed{PID: text("own"), PidfdID: text("own"), FDs: text("1")}, o.file)
	require.Empty(t, report.Outcome.Text)
	require.Len(t, report.Sockets, 1)
}

func TestWrongInheritanceIsAConfigurationErrorThatSaysWhatToWrite(t *testing.T) {
	listening := func(t *testing.T) []*os.File { return []*os.File{openListener(t, "rpc.sock").file} }
	twoListening := func(t *testing.T) []*os.File { return append(listening(t), listening(t)...) }
	const stream = "ListenStream=/"

	cases := map[string]struct {
		env   passed
		files func(*testing.T) []*os.File
		parts []string
	}{
		"40 are announced and one is open": {
			env: passed{FDs: text("40")}, files: listening,
			parts: []string{"announces 40", "3 to 42", "but 4 was not passed"},
		},
		"a number of the runtime's own descriptors is announced": {
			env: passed{FDs: text("10"), Names: text("a:b:c:d:e:f:g:h:i:j")}, files: listening,
			parts: []string{"announces 10", "was not passed"},
		},
		"more are announced than we ever look at": {
			env: passed{FDs: text("65")}, files: listening, parts: []string{"announces 65", "at most 64"},
		},
		"an absurd number is announced": {
			env: passed{FDs: text("18446744073709551615")}, files: listening, parts: []string{"at most 64"},
		},
		"only what was stored is there": {
			env: passed{FDs: text("1"), Names: text("stored-a")}, files: listening, parts: []string{"no socket was passed", "Sockets="},
		},
		"LISTEN_FDS is 0":               {env: passed{FDs: text("0")}, parts: []string{`"0"`, "from 1 to 64"}},
		"LISTEN_FDS is empty":           {env: passed{FDs: text("")}, parts: []string{`""`, "from 1 to 64"}},
		"LISTEN_FDS has a sign":         {env: passed{FDs: text("+1")}, parts: []string{`"+1"`}},
		"LISTEN_FDS is negative":        {env: passed{FDs: text("-1")}, parts: []string{`"-1"`}},
		"LISTEN_FDS has a leading zero": {env: passed{FDs: text("01")}, parts: []string{`"01"`}},
		"LISTEN_FDS is no number":       {env: passed{FDs: text("1 ")}, parts: []string{`"1 "`}},
		"LISTEN_PID is no number": {
			env: passed{PID: text("me"), FDs: text("1")}, files: listening, parts: []string{`LISTEN_PID is "me"`},
		},
		"LISTEN_PIDFDID is no number": {
			env: passed{PidfdID: text("x"), FDs: text("1")}, files: listening, parts: []string{`LISTEN_PIDFDID is "x"`},
		},
		"there are more names than sockets": {
			env: passed{FDs: text("1"), Names: text("rpc:admin")}, files: listening,
			parts: []string{"2 names", `"rpc:admin"`, "1 file descriptors"},
		},
		"there are fewer names than sockets": {
			env: passed{FDs: text("2"), Names: text("rpc")}, files: twoListening,
			parts: []string{"1 names", "2 file descriptors"},
		},
		"a name is unknown": {
			env: passed{FDs: text("1"), Names: text("http")}, files: listening,
			parts: []string{`named "http"`, `expected "rpc" or "admin"`, "FileDescriptorName=rpc"},
		},
		"two sockets have one name": {
			env: passed{FDs: text("2"), Names: text("rpc:marianned.socket")}, files: twoListening,
			parts: []string{`two sockets are named "rpc"`, "FileDescriptorName=admin"},
		},
		"there is an admin socket only": {
			env: passed{FDs: text("1"), Names: text("admin")}, files: listening,
			parts: []string{`"admin"`, `expected one named "rpc"`, "FileDescriptorName=rpc"},
		},
		"a TCP socket over IPv4": {
			env: passed{FDs: text("1")}, parts: []string{"an IPv4 socket", stream},
			files: func(t *testing.T) []*os.File {
				l, err := net.Listen("tcp4", "127.0.0.1:0")
				require.NoError(t, err)
				defer l.Close()
				file, err := l.(*net.TCPListener).File()
				require.NoError(t, err)
				t.Cleanup(func() { file.Close() })
				return []*os.File{file}
			},
		},
		"a datagram socket": {
			env: passed{FDs: text("1")}, parts: []string{"a datagram socket", "expected a stream socket", stream},
			files: func(t *testing.T) []*os.File { return []*os.File{rawSocket(t, unix.AF_UNIX, unix.SOCK_DGRAM)} },
		},
		"a seqpacket socket": {
			env: passed{FDs: text("1")}, parts: []string{"a seqpacket socket", "expected a stream socket", stream},
			files: func(t *testing.T) []*os.File {
				file := rawSocket(t, unix.AF_UNIX, unix.SOCK_SEQPACKET)
				require.NoError(t, unix.Bind(int(file.Fd()), &unix.SockaddrUnix{Name: filepath.Join(newDir(t), "s")}))
				require.NoError(t, unix.Listen(int(file.Fd()), 1))
				return []*os.File{file}
			},
		},
		"an accepted connection, as Accept=yes passes it": {
			env: passed{FDs: text("1"), Names: text("connection")}, parts: []string{"an accepted connection", "must say Accept=no"},
			files: func(t *testing.T) []*os.File {
				conn, err := openListener(t, "rpc.sock").listener.AcceptUnix()
				require.NoError(t, err)
				defer conn.Close()
				file, err := conn.File()
				require.NoError(t, err)
				t.Cleanup(func() { file.Close() })
				return []*os.File{file}
			},
		},
		"a socket that does not listen": {
			env: passed{FDs: text("1")}, parts: []string{"does not listen", stream},
			files: func(t *testing.T) []*os.File { return []*os.File{rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)} },
		},
		"an abstract socket": {
			env: passed{FDs: text("1")}, parts: []string{"listens on \"@", "abstract", stream},
			files: func(t *testing.T) []*os.File {
				file := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)
				require.NoError(t, unix.Bind(int(file.Fd()), &unix.SockaddrUnix{Name: "@activation-test-" + strconv.Itoa(os.Getpid())}))
				require.NoError(t, unix.Listen(int(file.Fd()), 1))
				return []*os.File{file}
			},
		},
		"a regular file": {
			env: passed{FDs: text("1")}, parts: []string{"file descriptor 3 is a regular file", stream},
			files: func(t *testing.T) []*os.File {
				file, err := os.Create(filepath.Join(newDir(t), "file"))
				require.NoError(t, err)
				t.Cleanup(func() { file.Close() })
				return []*os.File{file}
			},
		},
		"a good socket before a fifo": {
			env: passed{FDs: text("2"), Names: text("rpc:admin")}, parts: []string{"file descriptor 4 is a fifo", stream},
			files: func(t *testing.T) []*os.File {
				r, w, err := os.Pipe()
				require.NoError(t, err)
				t.Cleanup(func() { r.Close(); w.Close() })
				return append(listening(t), r)
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var files []*os.File
			if c.files != nil {
				files = c.files(t)
			}
			if c.env.PID == nil {
				c.env.PID = text("own")
			}
			report := inherit(t, c.env, files...)
			require.Equal(t, []string{"ErrConfig"}, report.Outcome.Kinds, report.Outcome.Text)
			for _, part := range c.parts {
				require.Contains(t, report.Outcome.Text, part)
			}
			require.NotContains(t, report.Outcome.Text, "%!")
			require.Empty(t, report.Sockets)
			require.Empty(t, report.Inheritable, "what was passed is closed")
			require.Empty(t, report.Grandchild.Descriptors)
		})
	}
}

func activatedChild() error {
	sockets, err := Inherit()
	if err != nil {
		return err
	}
	if len(sockets) != 1 {
		return fmt.Errorf("%d sockets", len(sockets))
	}
	conn, err := sockets[0].Listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s %s", sockets[0].Name, sockets[0].Path)
	return err
}

// What a service manager really sends, without and with a name.
func TestSystemdsOwnActivatorStartsUs(t *testing.T) {
	activator, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("needs systemd-socket-activate")
	}
	for name, flags := range map[string][]string{"unnamed": nil, "named": {"--fdname=rpc"}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(newDir(t), "a.sock")
			args := append([]string{"-l", path, "-E", childVariable + "=activated", "-E", "GORACE=atexit_sleep_ms=0"}, flags...)
			cmd := exec.CommandContext(t.Context(), activator, append(args, os.Args[0])...)
			stderr, err := cmd.StderrPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			// Its first words say that it listens.
			_, err = stderr.Read(make([]byte, 1))
			require.NoError(t, err)
			conn, err := net.Dial("unix", path)
			require.NoError(t, err)
			defer conn.Close()
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Equal(t, "rpc "+path, strings.TrimSpace(string(answer)))
			_, err = io.Copy(io.Discard, stderr)
			require.NoError(t, err)
			require.NoError(t, cmd.Wait())
		})
	}
}
