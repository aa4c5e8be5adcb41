package definition

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/marianned/marianned/internal/conffile"
)

// Options says how to read. The zero value is right for a daemon.
type Options struct {
	// Owners are the uids whose files count; nil for root and our own. Where it
	// is empty, but not nil, nobody's files are refused: fit for looking at
	// files that are not installed yet.
	Owners []uint32
}

// Definitions is what all files together say, each list by names.
type Definitions struct {
	Files    []string // that were read
	Methods  []*Method
	Policies []*Policy
	Workers  []*Worker
	Forwards []*Forward
	// Whole is false where a file is left out, since it could not be read to its
	// end: what others name may be in it.
	Whole bool
}

// Read reads all files of the folders, the first of which wins.
func Read(folders []string, opts Options) (*Definitions, Findings) {
	var findings Findings
	t := opts.trust()
	defs, more := readAll(conffile.List(folders, t, &findings), t)
	return defs, append(findings, more...)
}

// ReadFiles reads files by their paths, wherever they are.
func ReadFiles(paths []string, opts Options) (*Definitions, Findings) {
	return readAll(paths, opts.trust())
}

func (o Options) trust() conffile.Trust {
	if o.Owners == nil {
		return conffile.Trusted()
	}
	return conffile.Trust{Owners: o.Owners}
}

func readAll(paths []string, t conffile.Trust) (*Definitions, Findings) {
	defs := &Definitions{Files: paths, Whole: true}
	var findings Findings
	methods, policies := make(map[string]Place), make(map[string]Place)
	workers, forwards := make(map[string]Place), make(map[string]Place)
	for _, path := range paths {
		text, err := t.Read(path)
		if err != nil {
			findings.Add(Position{File: path}, "%s", conffile.Reason(err))
			defs.Whole = false
			continue
		}
		file, whole, more := decode(path, text)
		findings = append(findings, more...)
		if !whole {
			defs.Whole = false
			continue
		}
		for name, m := range file.Methods {
			checkName(m.Place, &findings)
			once(methods, m.Place, &findings)
			defs.Methods = append(defs.Methods, file.Methods[name])
		}
		for _, p := range file.Policy {
			once(policies, p.Place, &findings)
			defs.Policies = append(defs.Policies, p)
		}
		for _, w := range file.Workers {
			once(workers, w.Place, &findings)
			defs.Workers = append(defs.Workers, w)
		}
		for _, f := range file.Forwards {
			once(forwards, f.Place, &findings)
			defs.Forwards = append(defs.Forwards, f)
		}
	}
	slices.SortFunc(defs.Methods, func(a, b *Method) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(defs.Policies, func(a, b *Policy) int { return cmp.Compare(a.Name, b.Name) })
	return defs, findings
}

// once reports a name that another file has too.
func once(seen map[string]Place, p Place, findings *Findings) {
	if first, twice := seen[p.Name]; twice {
		findings.Add(p.At(), "%q is defined in %s already; drop one of them, or give both files one name so that one hides the other", p.Name, first.At())
		return
	}
	seen[p.Name] = p
}

// methodName keeps names fit for a command line, a log and an environment.
var methodName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./:-]{0,127}$`)

func checkName(p Place, findings *Findings) {
	if !methodName.MatchString(p.Name) {
		findings.Add(p.At(), "the method name %q: expected up to 128 letters, digits and _ . / : -, the first of them a letter, a digit or _", p.Name)
	}
	for _, reserved := range []string{"rpc.", "daemon."} {
		if strings.HasPrefix(p.Name, reserved) {
			findings.Add(p.At(), "the method name %q: names that start with %q are the daemon's own; choose another, or say in [policy.%q] who may call it", p.Name, reserved, p.Name)
		}
	}
}
