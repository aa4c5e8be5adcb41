package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long what must happen may take. Nothing passes by waiting.
const patience = 60 * time.Second

// Uids that no machine gives to anybody by itself. Root is the operator.
const (
	daemonUID    = 20000
	attackerUID  = 20001 // and those above it
	bystanderUID = 20010
)

var binaries string // the folder of the programs, which everybody may read

func TestMain(m *testing.M) {
	syscall.Umask(0o022)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("/tmp", "faults")
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binaries = dir
		build := exec.Command("go", "build", "-buildvcs=false", "-o", dir,
			"../..", "./fixture", "./attacker", "./bystander", "./rawecho")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the server and its clients are of several uids")
	}
}

// process is a program that the test started and ends.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	began time.Time
	ended chan struct{}
	took  time.Duration // valid once ended

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

// command returns a program of this suite that is not started yet.
func command(t *testing.T, uid uint32, name string, args ...string) *process {
	p := &process{t: t, cmd: exec.Command(filepath.Join(binaries, name), args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = "/", []string{"PATH=/usr/bin:/bin"}, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uid, Gid: uid},
		Pdeathsig:  syscall.SIGKILL, // none outlives a test that panics
	}
	return p
}

func (p *process) start() *process {
	p.t.Helper()
	p.began = time.Now()
	require.NoError(p.t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // how it ended is looked at where it matters
		p.took = time.Since(p.began)
		close(p.ended)
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// wait waits until the program has ended, well.
func (p *process) wait() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(p.t, "the program does not end", "%s: %s", p.cmd, p.said())
	}
	require.True(p.t, p.cmd.ProcessState.Success(), "%s: %s: %.1000s", p.cmd, p.cmd.ProcessState, p.said())
}

// interrupt asks the program to end.
func (p *process) interrupt() {
	p.t.Helper()
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if !errors.Is(err, os.ErrProcessDone) { // wait says how
		require.NoError(p.t, err)
	}
}

// cores returns how many processors the program has used on average; valid once
// it has ended.
func (p *process) cores() float64 {
	used := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	return used.Seconds() / p.took.Seconds()
}

// socketPath returns a path that the server's user can bind and everybody reach.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "f")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chown(dir, daemonUID, daemonUID))
	return filepath.Join(dir, "s")
}

// allowEverybody lets every uid connect to a socket that the test itself bound.
func allowEverybody(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.Chmod(path, 0o666))
}

// server is a server under attack, and root's connection to it.
type server struct {
	*process
	path string
	root *client
}

// serve starts marianned, or fixture, with the defaults of the unit. What is in
// shell is run before it, in the same process.
func serve(t *testing.T, name, shell string, flags ...string) *server {
	t.Helper()
	path := socketPath(t)
	args := append([]string{path}, flags...)
	if name == "marianned" {
		args = append([]string{"serve", "--config", os.DevNull, "--mode", "0666", "--socket", path}, flags...)
	}
	p := command(t, daemonUID, name, args...)
	if shell != "" {
		p.cmd.Args = append([]string{"sh", "-c", shell + `; exec "$@"`, "sh", p.cmd.Path}, args...)
		p.cmd.Path = "/bin/sh"
	}
	p.start()
	s := &server{process: p, path: path, root: awaitSocket(t, path)}
	s.status()
	return s
}

// unitSetting returns what the unit of the system's daemon says under a name: the
// server is tried as it is run.
func unitSetting(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../units/system/marianned.service")
	require.NoError(t, err)
	lines := regexp.MustCompile("(?m)^"+name+"=(.+)$").FindAllSubmatch(text, -1)
	require.Len(t, lines, 1, name)
	return string(lines[0][1])
}

// awaitSocket connects once a server listens at path.
func awaitSocket(t *testing.T, path string) (c *client) {
	t.Helper()
	require.Eventually(t, func() (connected bool) {
		var err error
		c, err = dial(t, path)
		return err == nil
	}, patience, time.Millisecond)
	return c
}

// stops ends the server as an operator does. It returns what is wrong with how it
// ended.
func (s *server) stops() string {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err.Error()
	}
	select {
	case <-s.ended:
	case <-time.After(drainTimeout):
		return fmt.Sprintf("it does not end within %s of SIGTERM", drainTimeout)
	}
	if !s.cmd.ProcessState.Success() {
		return s.cmd.ProcessState.String() + ": " + s.said()
	}
	return ""
}

// drainTimeout is what the service manager grants (TimeoutStopSec= of the unit).
const drainTimeout = 30 * time.Second

// status is what daemon.status answers.
type status struct {
	Connections      int `json:"connections"`
	Waiting          int `json:"waiting"`
	Running          int `json:"running_jobs"`
	Queued           int `json:"queued"`
	Streams          int `json:"streams"`
	BufferedBytes    int `json:"buffered_bytes"`
	TotalRequests    int `json:"total_requests"`
	TotalConnections int `json:"total_connections"`
	Refusals         map[string]int
}

// since returns st with what the server counts from its start counted from then.
func (st status) since(then status) status {
	refusals := map[string]int{}
	for reason, n := range st.Refusals {
		if n -= then.Refusals[reason]; n != 0 {
			refusals[reason] = n
		}
	}
	st.Refusals = refusals
	st.TotalRequests -= then.TotalRequests
	st.TotalConnections -= then.TotalConnections
	return st
}

func (s *server) status() status {
	s.t.Helper()
	st, err := s.root.status()
	require.NoError(s.t, err, s.said())
	return st
}

// client sees the wire. It may be used from any goroutine.
type client struct {
	net.Conn
	lines *bufio.Reader
	mu    sync.Mutex // held from a line to the one that answers it
}

func dial(t *testing.T, path string) (*client, error) {
	nc, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &client{Conn: nc, lines: bufio.NewReader(nc)}, nil
}

// call sends a line and returns the line that comes next.
func (c *client) call(line string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	reply, err := c.lines.ReadString('\n')
	return strings.TrimSuffix(reply, "\n"), err
}

func (c *client) status() (status, error) {
	line, err := c.call(`{"jsonrpc":"2.0","method":"daemon.status","id":1}`)
	if err != nil {
		return status{}, err
	}
	var reply struct{ Result *status }
	if err := json.Unmarshal([]byte(line), &reply); err != nil {
		return status{}, err
	}
	if reply.Result == nil {
		return status{}, errors.New(line)
	}
	return *reply.Result, nil
}
