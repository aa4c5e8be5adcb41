package worker

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/rpc"
)

// longWait is how long what must happen may take. Nothing passes by waiting.
const longWait = 30 * time.Second

var programs string // the folder of the programs in testdata

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "worker"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programs)
		os.Exit(code)
	}))
}

var building sync.Map // name: func() error

// program builds one of the programs in testdata, once.
func program(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(programs, name)
	build, _ := building.LoadOrStore(name, sync.OnceValue(func() error {
		out, err := exec.Command("go", "build", "-o", path, "./testdata/"+name).CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}))
	require.NoError(t, build.(func() error)())
	return path
}

// bench is one or more methods on a test's desk.
type bench struct {
	t       testing.TB
	workers *Workers
	log     *logBuffer
	logger  *logrus.Logger
}

type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
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

func newBench(t testing.TB) *bench {
	b := &bench{t: t, workers: new(Workers), log: new(logBuffer), logger: logrus.New()}
	b.logger.SetOutput(b.log)
	b.logger.SetLevel(logrus.DebugLevel)
	t.Cleanup(func() { <-b.workers.Stop() })
	return b
}

// read reads methods and workers as a file says them.
func read(t testing.TB, text string) (*definition.Definitions, definition.Findings) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return definition.ReadFiles([]string{path}, definition.Options{})
}

// methods builds all methods of a text that must be right.
func (b *bench) methods(text string) map[string]*method {
	b.t.Helper()
	defs, findings := read(b.t, text)
	settings := make(map[string]*Settings)
	for _, d := range defs.Workers {
		settings[d.Name] = Read(d, &findings)
	}
	methods := make(map[string]*method)
	for _, d := range defs.Methods {
		params, err := schema.CompileParams(d.Params)
		require.NoError(b.t, err)
		w := b.workers.New(d, params, settings[d.Worker], b.logger, &findings)
		methods[d.Name] = &method{b, d.Name, w}
	}
	require.NoError(b.t, findings.Err())
	return methods
}

// method is one method as a caller sees it.
type method struct {
	bench  *bench
	name   string
	worker *Worker
}

type event struct{ name, params string }

func (m *method) call(ctx context.Context, params string, events func(event)) (string, error) {
	call := &backend.Call{
		Method: m.name, Params: rpc.RawMessage(params), RequestID: "r-1", Peer: &rpc.Peer{},
		Log: logrus.NewEntry(m.bench.logger),
	}
	if events != nil {
		call.Emit = func(name string, params any) error {
			events(event{name, string(params.(rpc.RawMessage))})
			return nil
		}
	}
	result, err := m.worker.Call(ctx, call)
	return string(result), err
}

// ask makes a call that must succeed.
func (m *method) ask(params string) string {
	m.bench.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longWait)
	defer cancel()
	result, err := m.call(ctx, params, nil)
	require.NoError(m.bench.t, err)
	return result
}

// fail makes a call that must fail.
func (m *method) fail(params string) *rpc.Error {
	m.bench.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longWait)
	defer cancel()
	result, err := m.call(ctx, params, nil)
	require.Error(m.bench.t, err, result)
	var wire *rpc.Error
	require.ErrorAs(m.bench.t, err, &wire)
	return wire
}

// dataOf returns the data of an error as its caller reads it.
func dataOf(t testing.TB, e *rpc.Error) (data rpc.ErrorData) {
	t.Helper()
	raw, err := json.Marshal(e.Data)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &data))
	return data
}
