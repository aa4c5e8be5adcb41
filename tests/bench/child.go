package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

// child is a server in a process of its own.
type child struct {
	command *exec.Cmd
	stdin   io.Closer
	stderr  bytes.Buffer
	folder  string
	path    string // of its socket
}

// start starts a server with a fresh socket, and returns when it listens.
func start(s *servers.Server, w *workload.Workload) (_ *child, err error) {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(folder)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{folder: folder, path: filepath.Join(folder, "socket")}
	c.command = exec.Command(self, "serve", s.Name, c.path, w.Name)
	c.command.Stderr = &c.stderr
	if c.stdin, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err = c.command.Start(); err != nil {
		return nil, err
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		_ = c.stop()
		return nil, fmt.Errorf("%s did not start: %s", s.Name, strings.TrimSpace(c.stderr.String()))
	}
	return c, nil
}

// stop ends the server. It fails where the server had failed before.
func (c *child) stop() error {
	defer os.RemoveAll(c.folder)
	_ = c.stdin.Close()
	killer := time.AfterFunc(5*time.Second, func() { _ = c.command.Process.Kill() })
	defer killer.Stop()
	if err := c.command.Wait(); err != nil {
		return fmt.Errorf("the server ended with %w: %s", err, tail(c.stderr.String()))
	}
	return nil
}

func tail(text string) string {
	const most = 2000
	text = strings.TrimSpace(text)
	return text[max(0, len(text)-most):]
}

// cpu is the processor time that the server has used: its clock of
// clock_getcpuclockid(3), which counts nanoseconds.
func (c *child) cpu() (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED of the kernel
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^c.command.Process.Pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("processor time of the server: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// memory is what the server has in memory now: Rss of smaps_rollup, proc(5).
func (c *child) memory() (bytes int64, err error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", c.command.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s: found no line Rss", path)
}
