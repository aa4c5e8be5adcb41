package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// manager is the service manager's side: the listening socket, which it never
// accepts from, and the socket that the daemon reports to.
type manager struct {
	dir        string
	socketPath string
	notifyPath string

	listener *os.File // owns the listening socket
	notify   *net.UnixConn
	messages chan message
	received sync.WaitGroup
}

// message is one datagram of the sd_notify(3) protocol.
type message struct {
	pid  int // of the sender, from the kernel
	text string
}

// has reports whether line, READY=1 for example, is one of the message's.
func (m message) has(line string) bool {
	for l := range strings.Lines(m.text) {
		if strings.TrimSuffix(l, "\n") == line {
			return true
		}
	}
	return false
}

// status returns what the message says for people, or "".
func (m message) status() string {
	for l := range strings.Lines(m.text) {
		if status, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), "STATUS="); ok {
			return status
		}
	}
	return ""
}

const (
	longestName = len("/marianned.sock")
	sunPath     = 107 // bytes of a path in sun_path besides its NUL, unix(7)
)

// newManager makes a folder in the first of bases that can be used, and opens
// both sockets in it.
func newManager(bases []string) (_ *manager, err error) {
	dir, err := makeFolder(bases)
	if err != nil {
		return nil, err
	}
	m := &manager{
		dir:        dir,
		socketPath: filepath.Join(dir, "marianned.sock"),
		notifyPath: filepath.Join(dir, "notify"),
		messages:   make(chan message, 64),
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.listener, err = listen(m.socketPath); err != nil {
		return nil, err
	}
	if m.notify, err = listenNotify(m.notifyPath); err != nil {
		return nil, err
	}
	m.received.Go(m.receive)
	return m, nil
}

// makeFolder makes a folder that only we may enter, with room for the names of
// sockets in the 107 bytes that a path may have.
func makeFolder(bases []string) (string, error) {
	var failures []error
	for _, base := range bases {
		dir, err := os.MkdirTemp(base, "marianned-demo-")
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if n := len(dir) + longestName; n > sunPath {
			failures = append(failures, fmt.Errorf("a socket in %s would have a path of %d bytes, expected at most %d", dir, n, sunPath))
			_ = os.Remove(dir)
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("no folder for the demo's sockets could be made; set TMPDIR to one that is writable and short: %w", errors.Join(failures...))
}

// listen opens a Unix stream socket as a service manager does: nothing here
// will ever accept from it.
func listen(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), path) // non-blocking: the runtime polls it
	err = unix.Fchmod(fd, 0o600)          // before bind, so that the node never has another mode
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.Listen(fd, 128)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return file, nil
}

func listenNotify(path string) (*net.UnixConn, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var optErr error
		err = raw.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		})
		err = errors.Join(err, optErr)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ask the kernel who writes to %s: %w", path, err)
	}
	return conn, nil
}

// receive passes messages on until the socket is closed.
func (m *manager) receive() {
	defer close(m.messages)
	text := make([]byte, 4096) // what systemd takes, sd_notify(3)
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		n, oobn, _, _, err := m.notify.ReadMsgUnix(text, control)
		if err != nil {
			return
		}
		m.messages <- message{pid: senderPID(control[:oobn]), text: string(text[:n])}
	}
}

// senderPID returns the pid in an SCM_CREDENTIALS message, unix(7), or 0.
func senderPID(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return int(cred.Pid)
		}
	}
	return 0
}

// awaitClient returns when a connection waits in the backlog of the listening
// socket. It does not accept it: that is for the daemon.
func (m *manager) awaitClient(ctx context.Context) error {
	raw, err := m.listener.SyscallConn()
	if err != nil {
		return err
	}
	if err := m.listener.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = m.listener.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var pollErr error
	err = raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		var n int
		n, pollErr = unix.Poll(fds, 0)
		if errors.Is(pollErr, unix.EINTR) {
			pollErr = nil
		}
		return n > 0 || pollErr != nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := errors.Join(err, pollErr); err != nil {
		return fmt.Errorf("wait for a client: %w", err)
	}
	return nil
}

// start runs argv with the listening socket as file descriptor 3. LISTEN_PID is
// for the child to set, see Activate: nobody else knows its pid in time.
func (m *manager) start(argv []string) (*process, error) {
	raw, err := m.listener.SyscallConn()
	if err != nil {
		return nil, err
	}
	var passed *os.File
	var dupErr error
	err = raw.Control(func(fd uintptr) {
		// A duplicate: exec makes the file that it passes on blocking.
		var dup int
		if dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); dupErr == nil {
			passed = os.NewFile(uintptr(dup), m.socketPath)
		}
	})
	if err := errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("pass the socket on: %w", err)
	}
	defer passed.Close()

	p := &process{ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = m.environment()
	p.cmd.Dir = "/"
	p.cmd.Stderr = &p.stderr
	p.cmd.ExtraFiles = []*os.File{passed} // becomes 3
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C is for the demo, which then ends the daemon
		Pdeathsig: syscall.SIGKILL, // no daemon outlives a demo that was killed
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// environment is what a service manager gives: little, and nothing of ours.
func (m *manager) environment() []string {
	env := []string{
		"LISTEN_FDS=1",
		"LISTEN_FDNAMES=rpc",
		"NOTIFY_SOCKET=" + m.notifyPath,
	}
	for _, name := range []string{"PATH", "HOME", "LANG", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// close ends the listening and removes the folder with all that is in it.
func (m *manager) close() error {
	if m.listener != nil {
		_ = m.listener.Close()
	}
	if m.notify != nil {
		_ = m.notify.Close()
		go func() { // receive may be waiting to pass a message on
			for range m.messages {
			}
		}()
		m.received.Wait()
	}
	return os.RemoveAll(m.dir)
}

// process is one run of the daemon.
type process struct {
	cmd    *exec.Cmd
	stderr tail

	ended chan struct{} // closed when err is set
	err   error         // of Wait
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop kills the process if it still runs, and waits for its end.
func (p *process) stop() {
	select {
	case <-p.ended:
	default:
		_ = p.cmd.Process.Kill() // fails only if it has ended meanwhile
		<-p.ended
	}
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
	cut  bool
}

const maxTail = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
		t.cut = true
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(bytes.TrimRight(t.text, "\n"))
	if t.cut {
		text = "… " + text
	}
	return text
}
