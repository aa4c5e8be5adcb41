package definition

import (
	"reflect"

	"github.com/marianned/marianned/internal/conffile"
)

// decode reads the text of one file. It is whole unless it is no TOML, or has a
// value of the wrong type: what stands behind that was not read, and what is
// missing there is no mistake of its author's.
func decode(path string, text []byte) (file *File, whole bool, findings Findings) {
	file = new(File)
	x := conffile.Decode(path, text, file, &findings)
	whole = len(findings) == 0
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
	if whole {
		file.checkDurations(&findings)
	}
	return file, whole, findings
}

func (f *File) checkDurations(findings *Findings) {
	for _, m := range f.Methods {
		m.checkDurations(findings, map[string]Duration{"timeout": m.Timeout})
	}
	for _, w := range f.Workers {
		w.checkDurations(findings, map[string]Duration{"start_timeout": w.StartTimeout, "idle_timeout": w.IdleTimeout,
			"stall_timeout": w.StallTimeout, "health_interval": w.HealthInterval})
	}
	for _, f := range f.Forwards {
		f.checkDurations(findings, map[string]Duration{"connect_timeout": f.ConnectTimeout, "idle_timeout": f.IdleTimeout})
	}
}
