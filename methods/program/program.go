package program

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/marianned/marianned/internal/suggest"
	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/schema"
)

const (
	// DefaultMaxOutputBytes bounds what is kept of a program's output.
	DefaultMaxOutputBytes = 1 << 20

	// maxStderrBytes is how much of the end of its stderr is kept.
	maxStderrBytes = 4 << 10

	defaultEvent = "line"
)

// Results of a program.
const (
	resultText  = "text"
	resultLines = "lines"
	resultJSON  = "json"
)

// Program is a method's program. It is a backend.Backend.
type Program struct {
	path        string
	elements    []element
	directory   string
	environment []string // what is the same for each call
	stdin       bool     // gets the params
	stream      bool
	event       string
	result      string
	replyStderr bool
	success     []int
	maxOutput   int

	limits []string // the command that sets them; nil for none
	nice   int
	// credential is whom it runs as; nil for the user of this process.
	credential *syscall.Credential

	params    *schema.Params
	processes *Processes
}

var _ backend.Backend = (*Program)(nil)

// New reads what a definition says of its program. What is wrong with it is
// added to findings; the Program is then not usable.
func New(m *definition.Method, params *schema.Params, processes *Processes, findings *definition.Findings) *Program {
	p := &Program{
		directory:   "/",
		stdin:       m.Stdin == "params",
		stream:      m.Stream,
		event:       m.Event,
		result:      m.Result,
		replyStderr: m.Stderr == "reply",
		success:     m.SuccessExitStatus,
		maxOutput:   m.MaxOutputBytes,
		params:      params,
		processes:   processes,
	}
	if p.event == "" {
		p.event = defaultEvent
	}
	if p.result == "" {
		p.result = resultText
	}
	if p.maxOutput == 0 {
		p.maxOutput = DefaultMaxOutputBytes
	}
	p.readArguments(m, findings)
	p.readSettings(m, findings)
	p.readEnvironment(m, findings)
	return p
}

func (p *Program) readArguments(m *definition.Method, findings *definition.Findings) {
	if len(m.Exec) == 0 {
		findings.Add(m.At("exec"), "exec is empty, expected the path of a program and its arguments")
		return
	}
	p.path = m.Exec[0]
	switch info, err := os.Stat(p.path); {
	case !filepath.IsAbs(p.path):
		findings.Add(m.At("exec", "0"), "the program %q: expected an absolute path: nothing is looked up in PATH", p.path)
	case strings.ContainsAny(p.path, "{}\x00"):
		findings.Add(m.At("exec", "0"), "the program %q: expected a path without placeholders: a caller must not choose the program", p.path)
	case err != nil:
		findings.Warn(m.At("exec", "0"), "the program: %v; calls fail until it is there", err)
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		findings.Warn(m.At("exec", "0"), "the program %s is no executable file; calls fail until it is", p.path)
	}
	optionsEnded := false
	for i, text := range m.Exec[1:] {
		at := m.At("exec", strconv.Itoa(i+1))
		e, err := parseElement(text)
		if err != nil {
			findings.Add(at, "the argument %q: %v", text, err)
			continue
		}
		for _, part := range e {
			if part.parameter != "" {
				p.checkPlaceholder(part.parameter, at, findings)
			}
		}
		if !optionsEnded {
			for _, name := range e.first() {
				p.warnOfOption(name, at, findings)
			}
		}
		optionsEnded = optionsEnded || text == "--"
		p.elements = append(p.elements, e)
	}
}

func (p *Program) checkPlaceholder(name string, at definition.Position, findings *definition.Findings) {
	parameter := p.params.Parameter(name)
	if parameter == nil {
		hint := "name it in params.properties"
		if meant := suggest.Nearest(name, p.params.Names()); meant != "" {
			hint = fmt.Sprintf("did you mean {%s}?", meant)
		}
		findings.Add(at, "the placeholder {%s} is no parameter of this method; %s", name, hint)
		return
	}
	if err := parameter.CheckScalar(); err != nil {
		findings.Add(at, "the parameter %q can not be an argument: %v", name, err)
	}
	if parameter.Sensitive {
		findings.Add(at, "the sensitive parameter %q can not be an argument: every user of the host sees arguments, "+
			"and the journal keeps them; hand it over by stdin = \"params\"", name)
	}
}

// warnOfOption warns of a caller who could pass an option in place of a value.
func (p *Program) warnOfOption(name string, at definition.Position, findings *definition.Findings) {
	parameter := p.params.Parameter(name)
	if parameter != nil && parameter.CheckScalar() == nil && parameter.MayBeginWithDash() {
		findings.Warn(at, "{%s} may begin with a dash, and the program may take it for an option: write \"--\" before it, "+
			"or have its schema exclude that (pattern = \"^[^-]\", or minimum = 0 for a number)", name)
	}
}

func (p *Program) readSettings(m *definition.Method, findings *definition.Findings) {
	oneOf := func(key, value string, values ...string) {
		if value != "" && !slices.Contains(values, value) {
			findings.Add(m.At(key), "%s is %q, expected one of: %s", key, value, strings.Join(values, ", "))
		}
	}
	oneOf("runner", m.Runner, definition.RunnerChild, definition.RunnerUnit)
	p.readUser(m, findings)
	p.readNice(m, findings)
	p.readLimits(m, findings)
	oneOf("stdin", m.Stdin, "params")
	oneOf("result", m.Result, resultText, resultLines, resultJSON)
	oneOf("stderr", m.Stderr, "log", "reply")
	if m.MaxOutputBytes < 0 {
		findings.Add(m.At("max_output_bytes"), "max_output_bytes is %d, expected a number above 0", m.MaxOutputBytes)
	}
	for i, status := range m.SuccessExitStatus {
		if status < 0 || status > 255 {
			findings.Add(m.At("success_exit_status", strconv.Itoa(i)), "the exit status %d: expected a number from 0 to 255", status)
		}
	}
	if m.Directory != "" {
		if !filepath.IsAbs(m.Directory) {
			findings.Add(m.At("directory"), "directory is %q, expected an absolute path", m.Directory)
		}
		p.directory = m.Directory
	}
	if m.Event != "" && !m.Stream {
		findings.Add(m.At("event"), "event is set, but the method is no stream: add stream = true")
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reservedVariables are ours to set.
const reservedVariables = "MARIANNED_"

func (p *Program) readEnvironment(m *definition.Method, findings *definition.Findings) {
	variables := map[string]string{"PATH": defaultPath}
	for _, name := range []string{"PATH", "LANG"} {
		if value := os.Getenv(name); value != "" {
			variables[name] = value
		}
	}
	for name, value := range m.Environment {
		switch {
		case !variableName.MatchString(name), strings.HasPrefix(name, reservedVariables):
			findings.Add(m.At("environment", name), "the environment variable %q: expected letters, digits and _, and nothing that begins with %s", name, reservedVariables)
		case strings.IndexByte(value, 0) >= 0:
			findings.Add(m.At("environment", name), "the environment variable %s holds a NUL character, which it can not", name)
		}
		variables[name] = value
	}
	variables["MARIANNED_METHOD"] = m.Name
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		p.environment = append(p.environment, name+"="+variables[name])
	}
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Close does nothing: a program lives as long as its call.
func (p *Program) Close() {}
