package config

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/rpc"
)

const (
	// DefaultDrainTimeout is below the TimeoutStopSec= of the service.
	DefaultDrainTimeout = 20 * time.Second

	// DefaultIdleExit is how long a daemon that was started by its socket stays
	// without a connection.
	DefaultIdleExit = 60 * time.Second

	// MinIdleExit keeps a daemon that is called now and then below the trigger
	// limit of its socket (TriggerLimitBurst=, systemd.socket(5)), at which the
	// service manager gives the socket up.
	MinIdleExit = 5 * time.Second
)

// LogLevels are the values of log_level, from the quietest.
var LogLevels = []string{"error", "warning", "info", "debug"}

// Values are what the settings can be set to. Settings says what each means.
type Values struct {
	// Socket is "" where a user has no place for one.
	Socket          string
	Mode            fs.FileMode
	Group           string
	IdleExit        time.Duration
	DrainTimeout    time.Duration
	KeepConnections bool
	LogLevel        string
	Limits          rpc.Limits
}

// Defaults returns what holds where nothing is set.
func Defaults(instance Instance) Values {
	socket := SystemSocket
	if instance.IsUser() {
		socket, _ = userSocket() // the error is for who needs one
	}
	return Values{
		Socket:       socket,
		Mode:         activation.DefaultMode,
		IdleExit:     DefaultIdleExit,
		DrainTimeout: DefaultDrainTimeout,
		LogLevel:     "info",
		Limits:       rpc.DefaultLimits(),
	}
}

// Setting is one thing that an operator can set, in a file, in the environment,
// or as a flag of serve.
type Setting struct {
	// Name is the key in a file.
	Name string
	// Usage says in one line what it is.
	Usage string
	// Reload says whether a reload changes it, or only a restart.
	Reload bool

	kind  *kind
	field func(*Values) any // a pointer to a type of kind
	check func(value any) (problem string)
}

// Flag returns the name of the flag, without its dashes.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// Variable returns the name of the environment variable.
func (s *Setting) Variable() string { return variablePrefix + strings.ToUpper(s.Name) }

// Type returns the name of what is expected: "duration", "size", …
func (s *Setting) Type() string { return s.kind.name }

// Default returns the default of the system's daemon, as a flag or variable has
// it.
func (s *Setting) Default() string {
	values := Defaults(SystemInstance)
	return s.kind.format(s.get(&values))
}

const variablePrefix = "MARIANNED_"

// Settings are all there are, in the order in which they are shown.
var Settings = append([]*Setting{
	{"socket", "path of the socket to bind, where none is inherited", false, text,
		func(v *Values) any { return &v.Socket }, checkSocket},
	{"mode", "mode of a socket that is bound, in octal", false, mode,
		func(v *Values) any { return &v.Mode }, nil},
	{"group", "group of a socket that is bound: a name or a number", false, text,
		func(v *Values) any { return &v.Group }, nil},
	{"idle_exit", fmt.Sprintf("exit after so long without a connection, where the socket is inherited; at least %s, or 0 for never", MinIdleExit), true, duration,
		func(v *Values) any { return &v.IdleExit }, checkIdleExit},
	{"drain_timeout", "how long running calls may take to end at a stop; 0 cuts them off at once", true, duration,
		func(v *Values) any { return &v.DrainTimeout }, checkDrainTimeout},
	{"keep_connections", "leave the connections open over a restart by the service manager", true, boolean,
		func(v *Values) any { return &v.KeepConnections }, nil},
	{"log_level", "how much to log: " + strings.Join(LogLevels, ", "), true, text,
		func(v *Values) any { return &v.LogLevel }, checkLogLevel},
}, LimitSettings...)

// LimitSettings are those of rpc.Limits.
var LimitSettings = []*Setting{
	{"max_connections", "connections served at once; 8 more wait, the rest in the kernel's backlog", true, count,
		func(v *Values) any { return &v.Limits.MaxConnections }, checkCount},
	{"max_connections_per_uid", "connections of one uid; root and the daemon's own uid are free of it", true, count,
		func(v *Values) any { return &v.Limits.MaxConnectionsPerUID }, checkCount},
	{"max_concurrent_requests", "calls that run at once; further ones wait in the queue of their uid", true, count,
		func(v *Values) any { return &v.Limits.MaxConcurrentRequests }, checkCount},
	{"max_in_flight_per_connection", "unanswered calls of one connection; it is read no further at this bound", true, count,
		func(v *Values) any { return &v.Limits.MaxInFlightPerConnection }, checkCount},
	{"max_message_bytes", "largest message accepted or sent", true, size,
		func(v *Values) any { return &v.Limits.MaxMessageBytes }, checkMessageBytes},
	{"max_buffered_bytes", "input and output held for all clients together", true, size,
		func(v *Values) any { return &v.Limits.MaxBufferedBytes }, checkCount},
	{"max_batch", "calls in one batch", true, count,
		func(v *Values) any { return &v.Limits.MaxBatch }, checkCount},
	{"max_streams", "streams of all connections", true, count,
		func(v *Values) any { return &v.Limits.MaxStreams }, checkCount},
	{"max_streams_per_connection", "streams of one connection", true, count,
		func(v *Values) any { return &v.Limits.MaxStreamsPerConnection }, checkCount},
	{"connection_wait_timeout", "how long a connection waits for a place", true, duration,
		func(v *Values) any { return &v.Limits.ConnectionWaitTimeout }, checkTimeout},
	{"queue_timeout", "how long a call waits for its turn", true, duration,
		func(v *Values) any { return &v.Limits.QueueTimeout }, checkTimeout},
	{"frame_timeout", "how long a message may take from its first byte to its last", true, duration,
		func(v *Values) any { return &v.Limits.FrameTimeout }, checkTimeout},
	{"idle_timeout", "how long a connection may stay without a call", true, duration,
		func(v *Values) any { return &v.Limits.IdleTimeout }, checkTimeout},
	{"write_timeout", "how long a client may take to read each MiB of its replies", true, duration,
		func(v *Values) any { return &v.Limits.WriteTimeout }, checkTimeout},
	{"request_timeout", "how long a call may run, unless its method says otherwise", true, duration,
		func(v *Values) any { return &v.Limits.RequestTimeout }, checkTimeout},
}

// get returns the setting's value.
func (s *Setting) get(values *Values) any { return reflect.ValueOf(s.field(values)).Elem().Interface() }

func (s *Setting) put(values *Values, value any) {
	reflect.ValueOf(s.field(values)).Elem().Set(reflect.ValueOf(value))
}

// set changes the setting's value, or says what is wrong with it: "x, expected y".
func (s *Setting) set(values *Values, text string) (problem string) {
	value, ok := s.kind.parse(text)
	if !ok {
		return fmt.Sprintf("%q, expected %s", text, s.kind.expected)
	}
	if s.check != nil {
		if problem := s.check(value); problem != "" {
			if _, isText := value.(string); isText {
				return fmt.Sprintf("%q, %s", text, problem)
			}
			return fmt.Sprintf("%s, %s", s.kind.format(value), problem)
		}
	}
	s.put(values, value)
	return ""
}

// names returns the keys of a file.
func names() []string {
	names := make([]string, len(Settings))
	for i, s := range Settings {
		names[i] = s.Name
	}
	return names
}

// SetLimit sets the limit that a flag of serve has, given as there.
func SetLimit(limits *rpc.Limits, flag, value string) error {
	at := slices.IndexFunc(LimitSettings, func(s *Setting) bool { return s.Flag() == flag })
	if at < 0 {
		return Errorf("found the limit %q, expected a flag of serve", flag)
	}
	values := Values{Limits: *limits}
	if problem := LimitSettings[at].set(&values, value); problem != "" {
		return Errorf("--%s is %s", flag, problem)
	}
	*limits = values.Limits
	return nil
}
