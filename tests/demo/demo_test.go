// Package demo runs `marianned demo` as a person does who has just built it.
package demo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "marianned")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		binary = filepath.Join(folder, "marianned")
		build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "github.com/marianned/marianned")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// command runs the demo in a folder of its own, so that what it leaves shows.
func command(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "demo") // short: a socket's path has 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	c := exec.Command(binary, "demo")
	c.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+folder)
	return c, folder
}

func requireEmpty(t *testing.T, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left, "the demo left files behind")
}

var (
	lineForm = regexp.MustCompile(`^ *(\d+\.\d{3}) s  (manager|client |daemon )  (.*)$`)
	pidForm  = regexp.MustCompile(`started the daemon with the socket as descriptor 3, pid (\d+)$`)
)

type event struct {
	at   float64
	who  string
	what string
}

func parse(t *testing.T, out string) []event {
	t.Helper()
	var events []event
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, strings.Repeat(" ", 21)) {
			continue // a note
		}
		found := lineForm.FindStringSubmatch(line)
		require.NotNil(t, found, "not a line of the timeline: %q", line)
		e := event{who: strings.TrimSpace(found[2]), what: found[3]}
		_, err := fmt.Sscan(found[1], &e.at)
		require.NoError(t, err)
		events = append(events, e)
	}
	return events
}

func TestTheDemoShowsTwoActivationsOfTheRealDaemon(t *testing.T) {
	c, folder := command(t)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	require.NoError(t, c.Run(), "%s%s", stdout.String(), stderr.String())
	require.Empty(t, stderr.String())
	requireEmpty(t, folder)

	events := parse(t, stdout.String())
	require.Len(t, events, 14, stdout.String())
	next := 0
	expect := func(who, what string) event {
		t.Helper()
		e := events[next]
		require.Equal(t, who, e.who, stdout.String())
		require.Regexp(t, what, e.what, stdout.String())
		if next > 0 {
			require.GreaterOrEqual(t, e.at, events[next-1].at, "the times fall:\n%s", stdout.String())
		}
		next++
		return e
	}
	started := func() (pid string) {
		t.Helper()
		e := expect("manager", "started the daemon")
		pid = pidForm.FindStringSubmatch(e.what)[1]
		return pid
	}
	// READY=1 and the reply come in any order.
	answered := func(pid string) {
		t.Helper()
		if events[next].who == "client" {
			events[next], events[next+1] = events[next+1], events[next]
			events[next].at, events[next+1].at = events[next+1].at, events[next].at
		}
		expect("daemon", "^READY=1")
		expect("client", `^daemon\.health answered \{.*"pid":`+pid+`,.*hung up$`)
	}

	expect("manager", "^listens on "+regexp.QuoteMeta(folder)+"/marianned-demo-.*/marianned.sock; no daemon runs$")
	expect("client", "^connected; nobody has accepted")
	first := started()
	answered(first)
	quiet := events[next-1].at
	stopping := expect("daemon", "^STOPPING=1")
	require.GreaterOrEqual(t, stopping.at-quiet, 4.9, "not an exit on idle after 5 s")
	expect("manager", "exited with code 0; the socket is still open$")
	expect("client", "^connected again$")
	second := started()
	require.NotEqual(t, first, second)
	answered(second)
	expect("manager", "SIGTERM$")
	expect("daemon", "^STOPPING=1")
	expect("manager", "exited with code 0; the demo is over$")
	require.Equal(t, len(events), next)
	requireLikeReadme(t, stdout.String())
}

// requireLikeReadme compares the timeline in README.md with a real one, but for
// numbers, the folder's name, and the order of READY=1 and the reply.
func requireLikeReadme(t *testing.T, out string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "```text\n")
	require.True(t, found)
	shown, _, _ := strings.Cut(after, "```")
	normal := func(s string) []string {
		s = regexp.MustCompile(`/\S*marianned-demo-\d+`).ReplaceAllString(s, "FOLDER")
		s = regexp.MustCompile(`[\d.]*\d`).ReplaceAllString(s, "N")
		s = regexp.MustCompile(`(?m)^ *`).ReplaceAllString(s, "")
		lines := strings.Split(s, "\n")
		slices.Sort(lines)
		return lines
	}
	require.Equal(t, normal(shown), normal(out), "the demo in README.md is out of date")
}

// watcher passes on when a text has been written.
type watcher struct {
	all  strings.Builder
	text string
	seen chan struct{}
}

func (w *watcher) String() string { return w.all.String() }

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.all.Write(p)
	if w.text != "" && strings.Contains(w.all.String(), w.text) {
		w.text = ""
		close(w.seen)
	}
	return n, err
}

func TestCtrlCEndsTheDemoWithAllThatItStarted(t *testing.T) {
	c, folder := command(t)
	out := &watcher{text: "Now nobody calls", seen: make(chan struct{})}
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = out, &stderr
	require.NoError(t, c.Start())
	select {
	case <-out.seen:
	case <-time.After(20 * time.Second):
		_ = c.Process.Kill()
		_ = c.Wait()
		t.Fatalf("the demo got no further than:\n%s%s", out.String(), stderr.String())
	}
	require.NoError(t, c.Process.Signal(os.Interrupt))
	err := c.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 70, exit.ExitCode())
	require.Contains(t, stderr.String(), "interrupted")
	requireEmpty(t, folder)
	pid := 0
	found := regexp.MustCompile(`descriptor 3, pid (\d+)`).FindStringSubmatch(out.String())
	require.NotNil(t, found)
	_, err = fmt.Sscan(found[1], &pid)
	require.NoError(t, err)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "the daemon still runs")
}

func TestADemoWhoseReaderIsGoneCleansUp(t *testing.T) {
	c, folder := command(t)
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	c.Stdout = writer
	require.NoError(t, c.Start())
	require.NoError(t, writer.Close())
	require.Error(t, c.Wait())
	requireEmpty(t, folder)
}

func TestAFolderThatCannotBeUsedDoesNotStopTheDemo(t *testing.T) {
	c, _ := command(t)
	c.Env = append(c.Env, "XDG_RUNTIME_DIR=/nonexistent", "TMPDIR=/nonexistent")
	out := &watcher{text: "listens on /tmp/marianned-demo-", seen: make(chan struct{})}
	c.Stdout = out
	require.NoError(t, c.Start())
	select {
	case <-out.seen:
	case <-time.After(20 * time.Second):
	}
	require.NoError(t, c.Process.Signal(os.Interrupt))
	require.Error(t, c.Wait())
	require.Contains(t, out.String(), "listens on /tmp/marianned-demo-")
}
