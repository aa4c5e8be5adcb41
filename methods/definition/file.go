package definition

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/marianned/marianned/internal/conffile"
)

// File is what one file of methods.d can say. Its keys are the toml tags.
type File struct {
	// Methods are by their names.
	Methods map[string]*Method `toml:"methods"`
	// Policy opens or closes methods about the daemon itself, by their names.
	Policy map[string]*Policy `toml:"policy"`
	// Workers and Forwards answer the calls of methods that name them.
	Workers  map[string]*Worker  `toml:"workers"`
	Forwards map[string]*Forward `toml:"forwards"`
}

// Rules say who may call. An absent Allow means root alone.
type Rules struct {
	Allow []string `toml:"allow"`
	// Deny wins over Allow.
	Deny []string `toml:"deny"`
	// Sockets are the names of those on which a method is served; nil for all.
	Sockets []string `toml:"sockets"`
	// Hidden says whether a method does not exist for those who may not call it,
	// nil for yes; else they are told that they may not.
	Hidden *bool `toml:"hidden"`
}

// Policy are the rules of a method that is built in.
type Policy struct {
	Rules
	Place
}

// Method is what a file says about one method. Exactly one of Exec, Worker and
// Forward says how it is run.
type Method struct {
	Rules
	Place

	Summary     string `toml:"summary"`
	Description string `toml:"description"`

	// Params and ResultSchema are JSON Schemas, written in TOML.
	Params       map[string]any `toml:"params"`
	ResultSchema map[string]any `toml:"result_schema"`
	// Positional are the names that an array of params is matched to.
	Positional     []string `toml:"positional"`
	MaxParamsBytes int      `toml:"max_params_bytes"`

	Timeout            Duration `toml:"timeout"`
	MaxConcurrent      int      `toml:"max_concurrent"`
	CancelOnDisconnect bool     `toml:"cancel_on_disconnect"`
	// Stream makes what comes before the result events, named Event.
	Stream bool   `toml:"stream"`
	Event  string `toml:"event"`

	Program
	Elsewhere
}

// Program is a program that is run for each call.
type Program struct {
	// Exec is the program's path and its arguments, with placeholders.
	Exec []string `toml:"exec"`
	// Runner is "child" or "unit"; "" is "unit" where User is set.
	Runner string `toml:"runner"`
	User   string `toml:"user"`
	// Nice is the niceness of a program that runs outside, 0 for that of its service.
	Nice int `toml:"nice"`
	// Limits are those of setrlimit(2), hard and soft, by their names there in lower
	// case without RLIMIT_, in the units there.
	Limits map[string]int64 `toml:"limits"`

	Directory   string            `toml:"directory"`
	Environment map[string]string `toml:"environment"`
	Stdin       string            `toml:"stdin"`  // "" or "params"
	Result      string            `toml:"result"` // "text", "lines" or "json"
	Stderr      string            `toml:"stderr"` // "log" or "reply"
	// SuccessExitStatus are those, beside 0, that are no failure.
	SuccessExitStatus []int `toml:"success_exit_status"`
	MaxOutputBytes    int   `toml:"max_output_bytes"`
}

// Outside reports whether the program is run by a service of its own, as another
// user, and not by the daemon.
func (p Program) Outside() bool { return p.Runner == RunnerUnit || p.Runner == "" && p.User != "" }

// The runners.
const (
	RunnerChild = "child"
	RunnerUnit  = "unit"
)

// Duration is written as "10s" or "1m30s"; "" is none.
type Duration string

// Duration returns what was written, 0 for none.
func (d Duration) Duration() time.Duration {
	parsed, _ := d.parse() // what is none was reported
	return parsed
}

func (d Duration) parse() (time.Duration, error) {
	parsed, err := time.ParseDuration(string(d))
	switch {
	case err != nil:
		return 0, fmt.Errorf("found %q, expected a duration such as \"10s\" or \"1m30s\"", string(d))
	case parsed <= 0:
		return 0, fmt.Errorf("found %s, expected a duration above 0", parsed)
	}
	return parsed, nil
}

// checkDurations reports those of a table that are none. A key that is not there
// has no duration; one that is there has, be it an empty text.
func (p Place) checkDurations(findings *Findings, durations map[string]Duration) {
	for _, key := range slices.Sorted(maps.Keys(durations)) {
		if durations[key] == "" && p.At(key) == p.At() {
			continue
		}
		if _, err := durations[key].parse(); err != nil {
			findings.Add(p.At(key), "%s: %v", key, err)
		}
	}
}

// Place is where a table of a file stands.
type Place struct {
	Name  string `toml:"-"`
	table string // the key above Name
	index *conffile.Index
}

// File returns the path of the file.
func (p Place) File() string { return p.index.File }

// At returns the position of a key of the table, or of an item below one: of
// the nearest thing around it, where the file does not have it.
func (p Place) At(path ...string) Position {
	return p.index.At(append([]string{p.table, p.Name}, path...)...)
}
