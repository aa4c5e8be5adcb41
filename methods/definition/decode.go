package definition

import (
	"bytes"
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// decode reads the text of one file. What it returns beside findings is not
// usable.
func decode(path string, text []byte) (*File, Findings) {
	var findings Findings
	x := newIndex(path, text)
	file := new(File)
	err := toml.NewDecoder(bytes.NewReader(text)).Decode(file)
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &wrong):
		line, column := wrong.Position()
		message := describeMismatch(strings.TrimPrefix(wrong.Error(), "toml: "))
		if key := wrong.Key(); len(key) > 0 {
			message = strings.TrimPrefix(describePath(key), " in ") + ": " + message
		}
		findings.Add(Position{path, line, column}, "%s", message)
	case err != nil:
		findings.Add(Position{File: path}, "%s", err)
	}
	unknownKeys(x, &findings)
	for name, m := range file.Methods {
		m.Place = Place{name, "methods", x}
	}
	for name, p := range file.Policy {
		p.Place = Place{name, "policy", x}
	}
	for name, w := range file.Workers {
		w.Place = Place{name, "workers", x}
	}
	for name, f := range file.Forwards {
		f.Place = Place{name, "forwards", x}
	}
	return file, findings
}
