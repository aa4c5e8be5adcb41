package config

import (
	"encoding/json"
	"iter"

	"github.com/marianned/marianned/internal/conffile"
)

// Origin is where the value of a setting comes from: one of its fields, or the
// default, if all are zero.
type Origin struct {
	File     conffile.Position
	Variable string
	Flag     string // without its dashes
}

// String returns "/etc/marianned/marianned.toml:3:1", "$MARIANNED_SOCKET",
// "--socket" or "default".
func (o Origin) String() string {
	switch {
	case o.File.File != "":
		return o.File.String()
	case o.Variable != "":
		return "$" + o.Variable
	case o.Flag != "":
		return "--" + o.Flag
	}
	return "default"
}

// Origin returns where the value of the setting of that name comes from.
func (c *Config) Origin(name string) Origin {
	for _, s := range Settings {
		if s.Name == name {
			return c.origins[s]
		}
	}
	panic("config: there is no setting " + name)
}

// IsSet says whether a setting has a value other than by default.
func (c *Config) IsSet(name string) bool { return c.Origin(name) != Origin{} }

// Effective is a setting with its value.
type Effective struct {
	*Setting
	Origin Origin

	value any
}

// All goes through all settings, in the order of Settings.
func (c *Config) All() iter.Seq[Effective] {
	return func(yield func(Effective) bool) {
		for _, s := range Settings {
			if !yield(Effective{s, c.origins[s], s.get(&c.Values)}) {
				return
			}
		}
	}
}

// TOML returns the value as a file has it.
func (e Effective) TOML() string { return e.kind.quoted(e.value) }

// MarshalJSON writes name, value and origin. The value has the type that it has
// in a file.
func (e Effective) MarshalJSON() ([]byte, error) {
	var value any = e.kind.format(e.value)
	if n, isNumber := e.value.(int); isNumber {
		value = n
	}
	return json.Marshal(struct {
		Name   string `json:"name"`
		Value  any    `json:"value"`
		Origin string `json:"origin"`
	}{e.Name, value, e.Origin.String()})
}
