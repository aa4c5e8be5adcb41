package operator

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/marianned/marianned/internal/suggest"
	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/forward"
	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/methods/worker"
)

// elsewhere is who answers methods that no program is run for.
type elsewhere struct {
	workers  map[string]*worker.Settings
	forwards map[string]forward.Settings
	sockets  forward.Sockets
	whole    bool // else what is missing may be in a file that could not be read
}

func readElsewhere(defs *definition.Definitions, findings *definition.Findings) *elsewhere {
	e := &elsewhere{workers: make(map[string]*worker.Settings), forwards: make(map[string]forward.Settings), whole: defs.Whole}
	for _, d := range defs.Workers {
		e.workers[d.Name] = worker.Read(d, findings)
	}
	for _, d := range defs.Forwards {
		e.forwards[d.Name] = forward.Read(d, findings)
	}
	return e
}

// build returns what answers a method that names a worker or a socket; nil if
// there is no such thing.
func (e *elsewhere) build(d *definition.Method, params *schema.Params, opts Options, findings *definition.Findings) backend.Backend {
	for _, key := range d.Program.Keys() {
		if key != "result" || d.Worker == "" {
			findings.Add(d.At(key), "%s is for a method with exec, which this one does not have", key)
		}
	}
	if d.Worker != "" {
		settings := e.workers[d.Worker]
		if settings == nil && !e.whole {
			return nil
		}
		if settings == nil {
			findings.Add(d.At("worker"), "the worker %q is not defined; %s", d.Worker, orDefine("workers", d.Worker, e.workers))
			return nil
		}
		return opts.Workers.New(d, params, settings, opts.Logger, findings)
	}
	if d.Tool != "" {
		findings.Add(d.At("tool"), "tool is set, but no worker: name the worker that has it")
	}
	settings, found := e.forwards[d.Forward]
	switch {
	case filepath.IsAbs(d.Forward):
		settings = forward.ReadPath(d.Forward, d.At("forward"), findings)
	case !found && !e.whole:
		return nil
	case !found:
		findings.Add(d.At("forward"), "the socket %q is not defined, and is no absolute path; %s", d.Forward, orDefine("forwards", d.Forward, e.forwards))
		return nil
	}
	return e.sockets.New(d, settings, opts.Logger, findings)
}

// orDefine says what to do about a name that a table does not have.
func orDefine[T any](table, name string, known map[string]T) string {
	if meant := suggest.Nearest(name, slices.Sorted(maps.Keys(known))); meant != "" {
		return "did you mean \"" + meant + "\"?"
	}
	return "add a table [" + table + "." + name + "]"
}

// checkOneWay reports a method that is run in two ways.
func checkOneWay(d *definition.Method, findings *definition.Findings) {
	var ways []string
	if d.Exec != nil {
		ways = append(ways, "exec")
	}
	if d.Worker != "" {
		ways = append(ways, "worker")
	}
	if d.Forward != "" {
		ways = append(ways, "forward")
	}
	if len(ways) > 1 {
		findings.Add(d.At(ways[1]), "the method %q has %s: expected one of them", d.Name, strings.Join(ways, " and "))
	}
	if d.Exec != nil && (d.Target != "" || d.Tool != "") {
		findings.Add(d.At(), "target and tool are for a method with worker or forward, which this one does not have")
	}
}
