package definition

import (
	"reflect"

	"github.com/marianned/marianned/internal/conffile"
)

// decode reads the text of one file. What it returns beside findings is not
// usable.
func decode(path string, text []byte) (*File, Findings) {
	var findings Findings
	file := new(File)
	x := conffile.Decode(path, text, file, &findings)
	x.UnknownKeys(func(key []string) ([]string, bool) { return lookUp(reflect.TypeFor[File](), key) }, &findings)
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
