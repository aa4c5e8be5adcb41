package definition

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// Elsewhere says who answers the calls of a method that no program is run for.
type Elsewhere struct {
	// Worker names a table of File.Workers.
	Worker string `toml:"worker"`
	// Forward names a table of File.Forwards, or is the path of a socket.
	Forward string `toml:"forward"`
	// Target is the name that the method has there; "" for its own.
	Target string `toml:"target"`
	// Tool is the tool that a worker of the Model Context Protocol is asked for.
	Tool string `toml:"tool"`
}

// Worker is a program that stays, and answers calls on its stdin and stdout.
type Worker struct {
	Place

	// Command is the program's path and its arguments.
	Command     []string          `toml:"command"`
	Directory   string            `toml:"directory"`
	Environment map[string]string `toml:"environment"`

	// Protocol is "json-rpc" or "mcp"; "" is "json-rpc".
	Protocol   string      `toml:"protocol"`
	Initialize *Initialize `toml:"initialize"`

	Processes       int `toml:"processes"`
	MaxInFlight     int `toml:"max_in_flight"`
	MaxMessageBytes int `toml:"max_message_bytes"`

	StartTimeout   Duration `toml:"start_timeout"`
	IdleTimeout    Duration `toml:"idle_timeout"`
	StallTimeout   Duration `toml:"stall_timeout"`
	HealthMethod   string   `toml:"health_method"`
	HealthInterval Duration `toml:"health_interval"`
}

// Initialize is the call that a worker expects before all others.
type Initialize struct {
	Method string         `toml:"method"`
	Params map[string]any `toml:"params"`
	// Then is the notification that follows its answer.
	Then string `toml:"then"`
}

// Forward is a Unix socket at which somebody else answers calls.
type Forward struct {
	Place

	Socket         string   `toml:"socket"`
	MaxConnections int      `toml:"max_connections"`
	ConnectTimeout Duration `toml:"connect_timeout"`
	IdleTimeout    Duration `toml:"idle_timeout"`
}

// Keys returns the keys of the program that a file has set.
func (p Program) Keys() (keys []string) {
	value := reflect.ValueOf(p)
	for field, v := range value.Fields() {
		if !v.IsZero() {
			keys = append(keys, field.Tag.Get("toml"))
		}
	}
	return keys
}

// CheckProgram reports what is wrong with the path of a program, the first item
// of an array under key.
func (p Place) CheckProgram(key, path string, findings *Findings) {
	at := p.At(key, "0")
	info, err := os.Stat(path)
	switch {
	case !filepath.IsAbs(path):
		findings.Add(at, "the program %q: expected an absolute path: nothing is looked up in PATH", path)
	case strings.IndexByte(path, 0) >= 0:
		findings.Add(at, "the program %q: a NUL character, which no path can hold", path)
	case err != nil:
		findings.Warn(at, "the program: %v; calls fail until it is there", err)
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		findings.Warn(at, "the program %s is no executable file; calls fail until it is", path)
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ReservedVariables begin the names of environment variables that are ours to
// set.
const ReservedVariables = "MARIANNED_"

// CheckEnvironment reports what no environment can hold, or not this one.
func (p Place) CheckEnvironment(environment map[string]string, findings *Findings) {
	for name, value := range environment {
		switch {
		case !variableName.MatchString(name), strings.HasPrefix(name, ReservedVariables):
			findings.Add(p.At("environment", name), "the environment variable %q: expected letters, digits and _, and nothing that begins with %s", name, ReservedVariables)
		case strings.IndexByte(value, 0) >= 0:
			findings.Add(p.At("environment", name), "the environment variable %s holds a NUL character, which it can not", name)
		}
	}
}
