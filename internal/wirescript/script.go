package wirescript

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/rpc"
)

// Script is one file.
type Script struct {
	Name    string
	Fixture bool // needs the methods of Fixture
	Limits  rpc.Limits
	Flags   []string // of serve, for Limits
	steps   []step
}

// step is one line: a verb and its text.
type step struct {
	line int
	verb string
	text string
}

var verbs = map[string]bool{
	"-->": true, "<--": true, "<==": true, "<~~": true,
	"!half": true, "!drip": true, "!stall": true, "!silence": true, "!eof": true,
	"!halfclose": true, "!close": true, "!on": true,
}

var functions = template.FuncMap{
	"repeat": func(s string, n int) string { return strings.Repeat(s, n) },
	"bytes":  func(s string) string { return s },
}

// Load reads the scripts below dir, in the order of their names.
func Load(dir string) ([]*Script, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*.script"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no scripts below %s", dir)
	}
	var scripts []*Script
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		s, err := Parse(name, content)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

// Parse reads one script. Errors name file and line.
func Parse(name string, content []byte) (*Script, error) {
	s := &Script{Name: name}
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		if err := s.parseLine(n, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if len(s.steps) == 0 {
		return nil, fmt.Errorf("%s: a script without a step", name)
	}
	return s, lines.Err()
}

func (s *Script) parseLine(n int, line string) error {
	verb, text, _ := strings.Cut(line, " ")
	if key, ok := strings.CutSuffix(verb, ":"); ok && len(s.steps) == 0 {
		return s.parseHeader(key, text)
	}
	if !verbs[verb] {
		return fmt.Errorf("found %q, expected a header or one of the steps in the package's documentation", verb)
	}
	if verb == "!stall" {
		if _, err := time.ParseDuration(text); err != nil {
			return err
		}
	}
	if strings.Contains(text, "{{") {
		t, err := template.New("text").Funcs(functions).Parse(text)
		if err != nil {
			return err
		}
		var out strings.Builder
		if err := t.Execute(&out, nil); err != nil {
			return err
		}
		text = out.String()
	}
	s.steps = append(s.steps, step{n, verb, text})
	return nil
}

func (s *Script) parseHeader(key, value string) error {
	switch key {
	case "needs":
		if value != "fixture" {
			return fmt.Errorf("needs %q, expected fixture", value)
		}
		s.Fixture = true
	case "limits":
		for _, setting := range strings.Fields(value) {
			flag, v, _ := strings.Cut(setting, "=")
			if err := config.SetLimit(&s.Limits, flag, v); err != nil {
				return err
			}
			s.Flags = append(s.Flags, "--"+setting)
		}
	default:
		return fmt.Errorf("found the header %q, expected needs or limits", key)
	}
	return nil
}

// uses reports whether a step has that verb.
func (s *Script) uses(verb string) bool {
	for _, st := range s.steps {
		if st.verb == verb {
			return true
		}
	}
	return false
}
