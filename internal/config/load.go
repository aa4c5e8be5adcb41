package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/suggest"
)

// Options says where settings come from. The zero value reads the usual files
// and the environment.
type Options struct {
	// Flags are those that were given, by their names, as Setting.Flag has them.
	// Names that are no setting's are ignored.
	Flags map[string]string
	// Environment is what os.Environ returns; nil for that.
	Environment []string
	// File, if set, is read in the place of all usual files; /dev/null has
	// nothing to say.
	File string
	// Instance says whose files and defaults these are.
	Instance Instance
	// Folders hold marianned.toml and conf.d; the first wins where two have a
	// file of one name. nil: Instance.Folders.
	Folders []string
	// Trust says whose files count; nil for conffile.Trusted.
	Trust *conffile.Trust
}

// Config is what all sources together say. It never changes.
type Config struct {
	Values
	// Files are those that were read, each over those before it.
	Files []string
	// Warnings are about what can be used all the same.
	Warnings conffile.Findings

	origins map[*Setting]Origin // of what is not by default
}

// Load reads all sources: flags win over the environment, that over files, and
// those over the defaults. Of files, conf.d/*.toml, by the order of their names,
// win over marianned.toml. The error matches ErrInvalid, and its text has a line
// for each mistake in any of them; conffile.Findings is in its tree.
//
// It may be called at any time, and from any goroutine.
func Load(opts Options) (*Config, error) {
	if opts.Environment == nil {
		opts.Environment = os.Environ()
	}
	var findings conffile.Findings
	c := newConfig(opts.Instance)
	c.loadFiles(opts, &findings)
	c.loadEnvironment(opts.Environment, &findings)
	c.loadFlags(opts.Flags, &findings)
	if findings.Err() == nil {
		c.checkTogether(&findings)
	}
	if err := findings.Err(); err != nil {
		return nil, Errorf("%w", err)
	}
	_, c.Warnings = findings.Split()
	return c, nil
}

func newConfig(instance Instance) *Config {
	return &Config{Values: Defaults(instance), origins: make(map[*Setting]Origin)}
}

// CheckFlags reports, as Load does, what is wrong with flags alone.
func CheckFlags(flags map[string]string) error {
	var findings conffile.Findings
	c := newConfig(OwnInstance)
	c.loadFlags(flags, &findings)
	return findings.Err()
}

// CheckFiles reads files by their paths, wherever they are, each as if it was
// the only one. The error is that of Load.
func CheckFiles(paths []string, trust conffile.Trust) error {
	var findings conffile.Findings
	for _, path := range paths {
		c := newConfig(OwnInstance)
		c.loadFile(path, trust, &findings)
		c.checkTogether(&findings)
	}
	if err := findings.Err(); err != nil {
		return Errorf("%w", err)
	}
	return nil
}

func (c *Config) loadFiles(opts Options, findings *conffile.Findings) {
	trust := conffile.Trusted()
	if opts.Trust != nil {
		trust = *opts.Trust
	}
	if opts.File == os.DevNull {
		return
	}
	if opts.File != "" {
		c.loadFile(opts.File, trust, findings)
		return
	}
	if opts.Folders == nil {
		opts.Folders = opts.Instance.Folders()
	}
	if main := conffile.First(opts.Folders, mainFile); main != "" {
		c.loadFile(main, trust, findings)
	}
	var dropIns []string
	for _, folder := range opts.Folders {
		dropIns = append(dropIns, filepath.Join(folder, dropInFolder))
	}
	for _, path := range conffile.List(dropIns, trust, findings) {
		c.loadFile(path, trust, findings)
	}
}

func (c *Config) loadFile(path string, trust conffile.Trust, findings *conffile.Findings) {
	text, err := trust.Read(path)
	if err != nil {
		findings.Add(conffile.Position{File: path}, "%s", conffile.Reason(err))
		return
	}
	c.Files = append(c.Files, path)
	c.loadText(path, text, findings)
}

func (c *Config) loadText(path string, text []byte, findings *conffile.Findings) {
	var found map[string]any
	index := conffile.Decode(path, text, &found, findings)
	index.UnknownKeys(func(key []string) ([]string, bool) {
		known := names()
		return known, slices.Contains(known, key[0])
	}, findings)
	for _, s := range Settings {
		value, set := found[s.Name]
		if !set {
			continue
		}
		at := index.At(s.Name)
		text, problem := s.kind.textOf(value)
		if problem == "" {
			problem = s.set(&c.Values, text)
		}
		if problem != "" {
			findings.Add(at, "%s is %s", s.Name, problem)
			continue
		}
		c.origins[s] = Origin{File: at}
	}
}

func (c *Config) loadEnvironment(environment []string, findings *conffile.Findings) {
	known := names()
	for _, entry := range environment {
		variable, text, _ := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(variable, variablePrefix)
		if !ours || text == "" {
			continue
		}
		name = strings.ToLower(name)
		at := slices.Index(known, name)
		if at < 0 {
			// Not ours to refuse: there are others of this prefix, as in programs
			// that a daemon has started.
			if meant := suggest.Nearest(name, known); meant != "" {
				findings.Warn(conffile.Position{}, "$%s is no setting; did you mean $%s?", variable, variablePrefix+strings.ToUpper(meant))
			}
			continue
		}
		if problem := Settings[at].set(&c.Values, text); problem != "" {
			findings.Add(conffile.Position{}, "$%s is %s", variable, problem)
		}
		c.origins[Settings[at]] = Origin{Variable: variable}
	}
}

func (c *Config) loadFlags(flags map[string]string, findings *conffile.Findings) {
	for _, s := range Settings {
		text, given := flags[s.Flag()]
		if !given {
			continue
		}
		if problem := s.set(&c.Values, text); problem != "" {
			findings.Add(conffile.Position{}, "--%s is %s", s.Flag(), problem)
		}
		c.origins[s] = Origin{Flag: s.Flag()}
	}
}

// checkTogether reports values that can be used each, but not together.
func (c *Config) checkTogether(findings *conffile.Findings) {
	err := c.Limits.Validate()
	if err == nil {
		return
	}
	buffered, message := c.Origin("max_buffered_bytes"), c.Origin("max_message_bytes")
	at := buffered.File
	if buffered == (Origin{}) {
		at = message.File
	}
	findings.Add(at, "max_buffered_bytes (%s) is %s, expected at least twice max_message_bytes (%s), which is %s: "+
		"one large message must always get through", buffered, formatSize(c.Limits.MaxBufferedBytes), message, formatSize(c.Limits.MaxMessageBytes))
}
