package operator

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/program"
	"github.com/marianned/marianned/rpc"
)

// patience is how long what must happen may take. Nothing passes by waiting.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder holds a methods.d of the test's.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// load loads one file that must be right.
func load(t testing.TB, text string, log logrus.FieldLogger) *Set {
	t.Helper()
	processes := new(program.Processes)
	set, err := Load(Options{Folders: []string{folder(t, map[string]string{"test.toml": text})}, Logger: log, Processes: processes})
	require.NoError(t, err)
	t.Cleanup(func() {
		set.Close()
		<-processes.Stop()
	})
	return set
}

// findings loads a file that must be refused.
func findings(t *testing.T, text string) string {
	t.Helper()
	dir := folder(t, map[string]string{"test.toml": text})
	_, err := Load(Options{Folders: []string{dir}})
	require.Error(t, err)
	require.IsType(t, definition.Findings{}, err)
	return strings.ReplaceAll(err.Error(), dir+"/", "")
}

// service serves a set in the process.
type service struct {
	t    testing.TB
	path string
	log  *logBuffer
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

func serve(t testing.TB, text string) *service {
	t.Helper()
	s := &service{t: t, log: new(logBuffer)}
	logger := logrus.New()
	logger.SetOutput(s.log)
	logger.SetLevel(logrus.DebugLevel)
	set := load(t, text, logger)
	registry := new(rpc.Methods)
	require.NoError(t, set.Register(registry))
	server := &rpc.Server{Methods: registry, Logger: logger, Authorize: set.Authorize}
	dir, err := os.MkdirTemp("", "op") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.path = filepath.Join(dir, "s")
	l, err := net.Listen("unix", s.path)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		require.ErrorIs(t, <-served, rpc.ErrServerClosed)
	})
	return s
}

// client sees the wire.
type client struct {
	t     testing.TB
	conn  net.Conn
	lines *bufio.Reader
}

func (s *service) dial() *client {
	s.t.Helper()
	conn, err := net.Dial("unix", s.path)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{s.t, conn, bufio.NewReaderSize(conn, 1<<20)}
}

// reply is a reply or an event.
type reply struct {
	ID     any
	Method string
	Params map[string]any
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Data    map[string]any
	}
}

func (c *client) send(line string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, line+"\n")
	require.NoError(c.t, err)
}

func (c *client) reply() (r reply) {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(c.t, err, "got %.200q", line)
	require.NoError(c.t, json.Unmarshal([]byte(line), &r), line)
	return r
}

func (c *client) call(method, params string) reply {
	c.t.Helper()
	if params != "" {
		params = `,"params":` + params
	}
	c.send(`{"jsonrpc":"2.0","id":1,"method":"` + method + `"` + params + `}`)
	return c.reply()
}

func TestAMethodOfTenLinesCanBeCalled(t *testing.T) {
	s := serve(t, `
[methods."disk.usage"]
summary = "Free space of a file system"
allow   = ["everyone"]
timeout = "10s"
exec    = ["/bin/df", "--output=target", "--", "{path}"]
result  = "lines"
[methods."disk.usage".params]
type = "object"
required = ["path"]
properties.path = { type = "string", pattern = "^/", maxLength = 4096 }
`)
	c := s.dial()
	r := c.call("disk.usage", `{"path":"/"}`)
	require.Nil(t, r.Error)
	require.JSONEq(t, `["Mounted on","/"]`, string(r.Result))

	r = c.call("disk.usage", `{"path":"x"}`)
	require.Equal(t, rpc.CodeInvalidParams, r.Error.Code)
	require.Equal(t, "invalid params: /path does not match the pattern ^/", r.Error.Message)
	r = c.call("disk.usage", `{"path":"/nowhere"}`)
	require.Equal(t, program.CodeProgramFailed, r.Error.Code)
	require.Equal(t, `"disk.usage" failed: exit status 1`, r.Error.Message)
	require.Contains(t, s.log.String(), "No such file or directory")
}

func TestAKeyThatCanNotBeReadIsNotMissing(t *testing.T) {
	said := findings(t, "[methods.m]\nexec = \"/bin/true\"\n")
	require.Contains(t, said, ":2:")
	require.NotContains(t, said, "says nothing of how it is run")
}

// What stands behind a mistake that ends the reading of a file is there all the
// same: nobody is to look for it.
func TestWhatWasNotReadIsNotMissing(t *testing.T) {
	const behind = "\n[methods.m.params]\nproperties.a = { type = \"string\" }\n[workers.index]\ncommand = [\"/bin/sh\"]\n[forwards.far]\nsocket = \"/s\"\n"
	for mistake, want := range map[string]string{
		// Of the wrong type, and so no further than that.
		"timeout = 10":       `z.toml:3:11: methods.m.timeout: found an integer, expected a duration in quotes, such as "10s"`,
		"timeout = {}":       `z.toml:3:11: methods.m.timeout: found an inline table`,
		"timeout.s = 1":      `z.toml:3:9: methods.m.timeout.s: found a table`,
		"limits.cpu = \"x\"": `z.toml:3:14: methods.m.limits.cpu: found a string, expected a whole number`,
		"limits = 3":         `z.toml:3:10: methods.m.limits: found an integer, expected a table`,
		// No TOML.
		"timeout = ":                  "z.toml:3:11: ",
		"allow = [\"everyone\"":       "z.toml:4:1: ",
		"timeout = \"1s\"\nexec = []": "z.toml:4:1: ",
		// Read to the end.
		"timeout = \"10\"":  `z.toml:3:1: timeout: found "10", expected a duration such as "10s" or "1m30s"`,
		"timeout = \"-1s\"": `z.toml:3:1: timeout: found -1s, expected a duration above 0`,
		"timeout = \"\"":    `z.toml:3:1: timeout: found "", expected a duration`,
	} {
		dir := folder(t, map[string]string{
			"a.toml": "[methods.n]\nworker = \"index\"\n[methods.o]\nforward = \"far\"\n[methods.p]\nexec = [\"x\"]\n",
			"z.toml": "[methods.m]\nexec = [\"/bin/echo\", \"x{a}\"]\n" + mistake + behind,
		})
		_, err := Load(Options{Folders: []string{dir}})
		lines := strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")
		require.Len(t, lines, 2, "%s: %s", mistake, err)
		require.Contains(t, lines[0], "a.toml:6:9: ")
		require.Contains(t, lines[1], want)
	}
}

// FuzzAFileIsRefusedOrLoads holds that a file of an operator's, whatever is in it,
// ends no daemon: it is read while one runs.
func FuzzAFileIsRefusedOrLoads(f *testing.F) {
	examples, err := filepath.Glob("../../examples/methods.d/*.toml")
	require.NoError(f, err)
	require.NotEmpty(f, examples)
	for _, path := range examples {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	for _, text := range []string{
		"[methods.m.timeout]\na = 1\n", "[methods.m]\ntimeout.x = 1\nallow.x = 1\nlimits.x.y = 1\nhidden.x = 1\nparams = {}\n",
		"[[methods.m]]\nexec = []\n", "[methods]\nm = 1\n", "methods = 1\n", "[workers.w.initialize.params]\na = [{}]\n", "[policy.x]\nallow = [1]\n",
		"[methods.m]\nexec = [\"/bin/true\", \"{a}\"]\nparams.properties.a = 1\nparams.required = 1\n",
	} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "m.toml")
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(path, text, 0o600))
		set, err := LoadFiles([]string{path}, Options{Names: nobody{}, Outside: Outside{Socket: "/s"}})
		if err != nil {
			require.IsType(t, definition.Findings{}, err)
			for _, finding := range err.(definition.Findings) {
				require.NotEmpty(t, finding.Message)
				require.Equal(t, path, finding.Position.File)
			}
			return
		}
		set.Close()
	})
}

// nobody are the users and groups of a system without any.
type nobody struct{}

func (nobody) User(string) (uint32, error)  { return 0, os.ErrNotExist }
func (nobody) Group(string) (uint32, error) { return 0, os.ErrNotExist }

// One mistake is reported once: what follows from it is not.
func TestAMistakeInASchemaIsNotOneOfTheArgumentsToo(t *testing.T) {
	said := findings(t, "[methods.m]\nexec = [\"/bin/echo\", \"{a}\"]\n[methods.m.params]\nproperties.a = { type = \"string\", maxLenght = 3 }\n")
	require.Contains(t, said, ":4:")
	require.Contains(t, said, `did you mean "maxLength"?`)
	require.NotContains(t, said, "placeholder")
}
