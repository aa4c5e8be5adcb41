package operator

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/outside"
	"github.com/marianned/marianned/methods/policy"
	"github.com/marianned/marianned/methods/program"
	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/methods/worker"
	"github.com/marianned/marianned/rpc"
)

// Options says what to load, and what for.
type Options struct {
	// Folders hold the files; the first wins where two have a file of one name.
	Folders []string
	// Definition says whose files count.
	Definition definition.Options
	// Names looks users and groups up; nil for the system's databases.
	Names policy.Names
	// Owner is the user that the daemon runs as, nil for that of this process.
	Owner *uint32
	// Logger takes what is to be said of calls; nil for silence.
	Logger logrus.FieldLogger
	// Processes are the programs of all sets of a daemon; nil for those of this
	// one alone.
	Processes *program.Processes
	// Workers are those of all sets of a daemon; nil for those of this one alone.
	Workers *worker.Workers
	// Observe, if set, is told of each call that has ended: its method, the code of
	// its error (0 for a result), and how long it took without the wait for a slot.
	// It may be called from several goroutines at once.
	Observe func(method string, code int, took time.Duration)
	// Outside says what becomes of programs that run as another user.
	Outside Outside
}

// Outside says what becomes of the methods whose programs run outside of the
// daemon.
type Outside struct {
	// Socket is where the service manager listens for them. Where it is "" they are
	// refused, for the reason Why.
	Socket string
	Why    string
	// Here has them run in this process, which is the one outside.
	Here bool
}

// Set is what all files together define. Its methods may be called from any
// goroutine.
type Set struct {
	// Files are those that were read.
	Files []string
	// Warnings are about what can be used all the same.
	Warnings definition.Findings

	methods  map[string]*method
	builtIn  map[string]*policy.Policy // of methods about the daemon
	denials  *denials
	backends []backend.Backend
	owner    uint32
	observe  func(method string, code int, took time.Duration)
	log      logrus.FieldLogger
}

// Load reads all files. It is all or nothing: the error, of type
// definition.Findings, lists everything that is wrong.
func Load(opts Options) (*Set, error) {
	defs, findings := definition.Read(opts.Folders, opts.Definition)
	return build(defs, findings, opts)
}

// LoadFiles reads files by their paths, wherever they are.
func LoadFiles(paths []string, opts Options) (*Set, error) {
	defs, findings := definition.ReadFiles(paths, opts.Definition)
	return build(defs, findings, opts)
}

func build(defs *definition.Definitions, findings definition.Findings, opts Options) (*Set, error) {
	if opts.Names == nil {
		opts.Names = policy.System{}
	}
	if opts.Processes == nil {
		opts.Processes = new(program.Processes)
	}
	if opts.Workers == nil {
		opts.Workers = new(worker.Workers)
	}
	if opts.Observe == nil {
		opts.Observe = func(string, int, time.Duration) {}
	}
	if opts.Logger == nil {
		opts.Logger = silent
	}
	owner := uint32(os.Geteuid())
	if opts.Owner != nil {
		owner = *opts.Owner
	}
	s := &Set{
		Files:   defs.Files,
		methods: make(map[string]*method),
		builtIn: make(map[string]*policy.Policy),
		denials: newDenials(opts.Logger),
		log:     opts.Logger,
		owner:   owner,
		observe: opts.Observe,
	}
	others := readElsewhere(defs, &findings)
	for _, d := range defs.Methods {
		s.methods[d.Name] = s.buildMethod(d, others, opts, &findings)
	}
	for _, p := range defs.Policies {
		if !strings.HasPrefix(p.Name, "daemon.") {
			findings.Add(p.At(), "[policy.%q]: expected a method about the daemon, such as daemon.status; a method of these files has its rules beside it", p.Name)
		}
		s.builtIn[p.Name] = policy.New(p.Rules, p.Place, opts.Names, owner, &findings)
	}
	if err := findings.Err(); err != nil {
		s.Close()
		return nil, err
	}
	_, s.Warnings = findings.Split()
	return s, nil
}

// buildMethod makes a method of its definition. With errors among the findings
// it is not usable.
func (s *Set) buildMethod(d *definition.Method, others *elsewhere, opts Options, findings *definition.Findings) *method {
	m := &method{set: s, definition: d, policy: policy.New(d.Rules, d.Place, opts.Names, s.owner, findings)}
	params, err := schema.CompileParams(d.Params)
	if err != nil {
		addSchemaError(d, "params", err, findings)
		params = namesOf(d.Params) // so that the rest can be looked at
	}
	m.params = params
	if d.ResultSchema != nil {
		if m.result, err = schema.Compile(d.ResultSchema); err != nil {
			addSchemaError(d, "result_schema", err, findings)
		}
	}
	checkMethod(d, params, findings)
	checkOneWay(d, findings)
	switch {
	case d.Exec != nil:
		m.backend = buildProgram(d, params, opts, findings)
	case d.Worker != "", d.Forward != "":
		if m.backend = others.build(d, params, opts, findings); m.backend == nil {
			return m
		}
	default:
		findings.Add(d.At(), "the method %q says nothing of how it is run: add exec, worker or forward", d.Name)
		return m
	}
	s.backends = append(s.backends, m.backend)
	return m
}

// namesOf stands in for a schema that has a mistake: it knows the parameters, and
// nothing is wrong with them.
func namesOf(table map[string]any) *schema.Params {
	properties, _ := table["properties"].(map[string]any)
	plain := make(map[string]any, len(properties))
	for name := range properties {
		plain[name] = map[string]any{"const": "x"}
	}
	params, err := schema.CompileParams(map[string]any{"properties": plain})
	if err != nil {
		params, _ = schema.CompileParams(nil)
	}
	return params
}

// buildProgram makes what runs a program, here or outside. What is wrong with it
// is found wherever it runs.
func buildProgram(d *definition.Method, params *schema.Params, opts Options, findings *definition.Findings) backend.Backend {
	p := program.New(d, params, opts.Processes, findings)
	switch {
	case !d.Outside():
		return p
	case opts.Outside.Here:
		p.RunAs(d, findings)
		return p
	case opts.Outside.Socket == "":
		at := d.At("user")
		if d.User == "" {
			at = d.At("runner")
		}
		findings.Add(at, "the program is to run as another user, but %s", opts.Outside.Why)
	}
	return outside.NewRunner(opts.Outside.Socket, d.Stream)
}

func addSchemaError(d *definition.Method, key string, err error, findings *definition.Findings) {
	path := []string{key}
	if e, ok := err.(*schema.Error); ok {
		path = append(path, e.Path...)
	}
	findings.Add(d.At(path...), "%s: %v", key, err)
}

func checkMethod(d *definition.Method, params *schema.Params, findings *definition.Findings) {
	for i, name := range d.Positional {
		if params.Parameter(name) == nil {
			findings.Add(d.At("positional", fmt.Sprint(i)), "positional has %q, which is no parameter of this method", name)
		}
	}
	if d.MaxConcurrent < 0 {
		findings.Add(d.At("max_concurrent"), "max_concurrent is %d, expected a number above 0", d.MaxConcurrent)
	}
	if d.MaxParamsBytes < 0 {
		findings.Add(d.At("max_params_bytes"), "max_params_bytes is %d, expected a number above 0", d.MaxParamsBytes)
	}
	if d.Stream && d.ResultSchema != nil {
		findings.Add(d.At("result_schema"), "a stream has no result of its own that a schema could describe: drop result_schema")
	}
}

// Register adds the methods to a registry.
func (s *Set) Register(registry *rpc.Methods) error {
	for _, m := range s.methods {
		if err := registry.Register(m.describe()); err != nil {
			return fmt.Errorf("%s: %w", m.definition.At(), err)
		}
	}
	return nil
}

// Len returns how many methods there are.
func (s *Set) Len() int { return len(s.methods) }

// Close is called when no further call will come. It does not wait for those
// that run.
func (s *Set) Close() {
	for _, b := range s.backends {
		b.Close()
	}
}
