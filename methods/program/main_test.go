package program

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/rpc"
)

// patience is how long what must happen may take. Nothing passes by waiting.
const patience = 20 * time.Second

// showVariable makes this test's own binary a program that shows what it was
// started with.
const showVariable = "SHOW_WHAT_I_GOT"

func TestMain(m *testing.M) {
	if os.Getenv(showVariable) != "" {
		show()
		return
	}
	keepInherited()
	goleak.VerifyTestMain(m)
}

// keepInherited keeps from programs what whoever started the tests left open.
func keepInherited() {
	for fd := range 1024 {
		if fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// shown is what a program sees of its call.
type shown struct {
	Args        [][]byte
	Environment []string
	Directory   string
	FDs         []string // those that were there when it was started
	Group       bool     // leads one
}

func show() {
	s := shown{Environment: os.Environ(), Group: os.Getpid() == processGroup()}
	for _, arg := range os.Args[1:] {
		s.Args = append(s.Args, []byte(arg))
	}
	s.Directory, _ = os.Getwd()
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // its own: those that it was started with did not close then
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			s.FDs = append(s.FDs, e.Name()+" "+target)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(s)
}

// fixture is one method and what happens around it.
type fixture struct {
	t         testing.TB
	program   *Program
	params    *schema.Params
	processes *Processes
	log       *logBuffer

	mu     sync.Mutex
	events []string
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// read reads the definition of one method, named m, and returns what is found.
func read(t testing.TB, text string) (*fixture, definition.Findings) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.toml")
	require.NoError(t, os.WriteFile(path, []byte("[methods.m]\n"+text), 0o600))
	defs, findings := definition.ReadFiles([]string{path}, definition.Options{})
	require.Empty(t, findings, text)
	f := &fixture{t: t, processes: new(Processes), log: new(logBuffer)}
	var err error
	f.params, err = schema.CompileParams(defs.Methods[0].Params)
	require.NoError(t, err)
	f.program = New(defs.Methods[0], f.params, f.processes, &findings)
	t.Cleanup(func() { <-f.processes.Stop() })
	return f, findings
}

// method reads a definition that is right. "SELF" stands for this binary.
func method(t testing.TB, text string) *fixture {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	f, findings := read(t, strings.ReplaceAll(text, "SELF", self))
	require.NoError(t, findings.Err())
	return f
}

// in is the same method for a test within the test.
func (f *fixture) in(t testing.TB) *fixture {
	return &fixture{t: t, program: f.program, params: f.params, processes: f.processes, log: f.log}
}

var peer = &rpc.Peer{UID: 0, GID: 7, PID: 1, Unit: "backup.service"}

func (f *fixture) callWith(ctx context.Context, params string) (rpc.RawMessage, error) {
	f.t.Helper()
	values, full, err := f.params.Decode(rpc.RawMessage(params))
	require.NoError(f.t, err)
	logger := logrus.New()
	logger.SetOutput(f.log)
	return f.program.Call(ctx, &backend.Call{
		Method: "m", Params: full, Values: values, RequestID: f.requestID(), Peer: peer,
		Emit: func(event string, params any) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, event+" "+string(params.(rpc.RawMessage)))
			return ctx.Err()
		},
		Log: logrus.NewEntry(logger),
	})
}

func (f *fixture) requestID() string { return fmt.Sprintf("test-%p", f) }

func (f *fixture) call(params string) (rpc.RawMessage, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f.callWith(ctx, params)
}

// result calls a program that must succeed.
func (f *fixture) result(params string) string {
	f.t.Helper()
	result, err := f.call(params)
	require.NoError(f.t, err, "%s", f.log)
	return string(result)
}

// shows calls this binary.
func (f *fixture) shows(params string) (s shown) {
	f.t.Helper()
	require.NoError(f.t, json.Unmarshal([]byte(f.result(params)), &s))
	return s
}

// fails calls a program that must fail, and returns its error with its data.
func (f *fixture) fails(params string) (*rpc.Error, map[string]any) {
	f.t.Helper()
	_, err := f.call(params)
	var wire *rpc.Error
	require.ErrorAs(f.t, err, &wire)
	text, err := json.Marshal(wire.Data)
	require.NoError(f.t, err)
	var data map[string]any
	require.NoError(f.t, json.Unmarshal(text, &data))
	return wire, data
}

// shell is a program of one line.
func shell(line string) string {
	return fmt.Sprintf("exec = [\"/bin/sh\", \"-c\", %s]\n", strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf("%q", line), "{", "{{"), "}", "}}"))
}
