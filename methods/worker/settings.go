package worker

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/marianned/marianned/internal/version"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

// Protocols that a worker may speak.
const (
	protocolRPC = "json-rpc"
	protocolMCP = "mcp"
)

// Defaults of a definition.
const (
	DefaultMaxInFlight     = 16
	DefaultMaxMessageBytes = 16 << 20
	DefaultStartTimeout    = 30 * time.Second
	DefaultIdleTimeout     = 5 * time.Minute
	DefaultStallTimeout    = 10 * time.Second

	maxProcesses   = 64
	maxMaxInFlight = 1024
)

// mcpVersion is the revision of the Model Context Protocol that is offered; a
// server may answer with another.
const mcpVersion = "2025-06-18"

// Settings are what a definition says, with its defaults. Two that are equal
// (see key) may share processes.
type Settings struct {
	Name        string
	Command     []string
	Directory   string
	Environment []string
	MCP         bool

	// Initialize is the method of the first call, "" for none.
	Initialize       string
	InitializeParams rpc.RawMessage
	Initialized      string

	Processes       int
	MaxInFlight     int
	MaxMessageBytes int

	StartTimeout   time.Duration
	IdleTimeout    time.Duration
	StallTimeout   time.Duration
	HealthMethod   string
	HealthInterval time.Duration
}

// Read reads the definition of a worker. What is wrong with it is added to
// findings; the settings are then not usable.
func Read(d *definition.Worker, findings *definition.Findings) *Settings {
	s := &Settings{
		Name: d.Name, Command: d.Command, Directory: d.Directory, MCP: d.Protocol == protocolMCP,
		Processes: d.Processes, MaxInFlight: d.MaxInFlight, MaxMessageBytes: d.MaxMessageBytes,
		StartTimeout: d.StartTimeout.Duration(), IdleTimeout: d.IdleTimeout.Duration(), StallTimeout: d.StallTimeout.Duration(),
		HealthMethod: d.HealthMethod, HealthInterval: d.HealthInterval.Duration(),
	}
	s.check(d, findings)
	setDefault(&s.Directory, "/")
	setDefault(&s.Processes, 1)
	setDefault(&s.MaxInFlight, DefaultMaxInFlight)
	setDefault(&s.MaxMessageBytes, DefaultMaxMessageBytes)
	setDefault(&s.StartTimeout, DefaultStartTimeout)
	setDefault(&s.IdleTimeout, DefaultIdleTimeout)
	setDefault(&s.StallTimeout, DefaultStallTimeout)
	s.Environment = environment(d)
	s.readInitialize(d, findings)
	if s.MCP {
		setDefault(&s.HealthMethod, "ping")
	}
	return s
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func (s *Settings) check(d *definition.Worker, findings *definition.Findings) {
	if len(s.Command) == 0 {
		findings.Add(d.At("command"), "the worker %q has no command: expected the path of a program and its arguments", s.Name)
	} else {
		d.CheckProgram("command", s.Command[0], findings)
	}
	d.CheckEnvironment(d.Environment, findings)
	if s.Directory != "" && !filepath.IsAbs(s.Directory) {
		findings.Add(d.At("directory"), "directory is %q, expected an absolute path", s.Directory)
	}
	if d.Protocol != "" && d.Protocol != protocolRPC && d.Protocol != protocolMCP {
		findings.Add(d.At("protocol"), "protocol is %q, expected one of: %s, %s", d.Protocol, protocolRPC, protocolMCP)
	}
	if s.Processes < 0 || s.Processes > maxProcesses {
		findings.Add(d.At("processes"), "processes is %d, expected a number from 1 to %d", s.Processes, maxProcesses)
	}
	if s.MaxInFlight < 0 || s.MaxInFlight > maxMaxInFlight {
		findings.Add(d.At("max_in_flight"), "max_in_flight is %d, expected a number from 1 to %d", s.MaxInFlight, maxMaxInFlight)
	}
	if s.MaxMessageBytes < 0 {
		findings.Add(d.At("max_message_bytes"), "max_message_bytes is %d, expected a number above 0", s.MaxMessageBytes)
	}
	if s.HealthInterval > 0 && s.HealthMethod == "" && !s.MCP {
		findings.Add(d.At("health_interval"), "health_interval is set without health_method: name the method that a healthy worker answers")
	}
}

func (s *Settings) readInitialize(d *definition.Worker, findings *definition.Findings) {
	first := d.Initialize
	if first == nil && !s.MCP {
		return
	}
	if first == nil {
		first = new(definition.Initialize)
	}
	s.Initialize, s.Initialized = first.Method, first.Then
	params := first.Params
	if s.MCP {
		setDefault(&s.Initialize, "initialize")
		setDefault(&s.Initialized, "notifications/initialized")
		params = maps.Clone(mcpParams())
		maps.Copy(params, first.Params)
	}
	if s.Initialize == "" {
		findings.Add(d.At("initialize"), "initialize has no method: expected the name of the call that the worker expects first")
	}
	if params == nil {
		return
	}
	raw, err := json.Marshal(params)
	if err != nil {
		findings.Add(d.At("initialize", "params"), "initialize.params: %v", err)
	}
	s.InitializeParams = raw
}

// mcpParams are those of the request initialize, Model Context Protocol,
// "Lifecycle".
func mcpParams() map[string]any {
	return map[string]any{
		"protocolVersion": mcpVersion,
		"capabilities":    map[string]any{},
		"clientInfo":      map[string]any{"name": "marianned", "version": version.Get().Version},
	}
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment returns what a worker has of ours, PATH and LANG, and what its
// definition adds.
func environment(d *definition.Worker) []string {
	variables := map[string]string{"PATH": defaultPath}
	for _, name := range []string{"PATH", "LANG"} {
		if value := os.Getenv(name); value != "" {
			variables[name] = value
		}
	}
	maps.Copy(variables, d.Environment)
	variables[definition.ReservedVariables+"WORKER"] = d.Name
	var list []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		list = append(list, name+"="+variables[name])
	}
	return list
}

// key is the same for settings that are equal.
func (s *Settings) key() string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // they are strings and numbers, and JSON that was made here
	}
	return string(raw)
}
