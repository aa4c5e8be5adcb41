package methods

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// everyMethod are the built-in unary methods that change nothing.
var everyMethod = []string{"rpc.ping", "rpc.echo", "rpc.discover", "daemon.health", "daemon.ready", "daemon.status", "daemon.config", "daemon.peers", "daemon.metrics"}

func TestResultsKeepTheSchemasThatDiscoverShows(t *testing.T) {
	s := start(t, rpc.Limits{})
	c := s.dial(operator)
	for _, name := range append(everyMethod, "daemon.shutdown") {
		r := c.call(name, "")
		require.Nil(t, r.Error, name)
		m := s.server.Methods.Lookup(name)
		require.NotEmpty(t, m.Summary, name)
		require.True(t, json.Valid(m.ParamsSchema), name)
		require.NoError(t, keeps(m.ResultSchema, r.Result), name)
	}
	require.True(t, <-s.stops)
}

// keeps checks a value against what of JSON Schema the built-in methods use, and
// that an object with properties has no others: a member without a description
// is a member that somebody forgot.
func keeps(schema, value json.RawMessage) error {
	var s struct {
		Type                 any
		Const                any
		Enum                 []any
		Required             []string
		Properties           map[string]json.RawMessage
		AdditionalProperties json.RawMessage
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return err
	}
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	kind := map[reflect.Kind]string{reflect.Bool: "boolean", reflect.String: "string", reflect.Map: "object", reflect.Slice: "array"}[reflect.ValueOf(v).Kind()]
	switch {
	case v == nil:
		kind = "null"
	case kind == "" && strings.ContainsAny(string(value), ".eE"):
		kind = "number"
	case kind == "":
		kind = "integer"
	}
	if s.Type != nil && !strings.Contains(fmt.Sprint(s.Type), kind) && (kind != "integer" || s.Type != "number") {
		return fmt.Errorf("%s is a %s, expected %v", value, kind, s.Type)
	}
	if s.Const != nil && s.Const != v || s.Enum != nil && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%s is not %v%v", value, s.Const, s.Enum)
	}
	object, _ := v.(map[string]any)
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	var members map[string]json.RawMessage
	if object != nil {
		_ = json.Unmarshal(value, &members)
	}
	for name, member := range members {
		schema, ok := s.Properties[name]
		switch {
		case !ok && s.AdditionalProperties != nil:
			schema = s.AdditionalProperties
		case !ok && s.Properties != nil:
			return fmt.Errorf("%s is not in the schema", name)
		case !ok:
			continue
		}
		if err := keeps(schema, member); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func TestPingAndEchoAnswer(t *testing.T) {
	c := start(t, rpc.Limits{}).dial(stranger)
	require.Equal(t, `"pong"`, string(c.call("rpc.ping", "").Result))
	for params, want := range map[string]string{"": "null", "null": "null", "{}": "{}", "[]": "[]", `[1, 2]`: `[1, 2]`, `{"a":1.0}`: `{"a":1.0}`} {
		c.send(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo"` + map[bool]string{true: `,"params":`}[params != ""] + params + `}`)
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":`+want+`}`, c.line())
	}
}

// Clients of the Python server send "params":null or {} where there are none.
func TestParamsMayBeNullOrEmptyButNotUnknown(t *testing.T) {
	s := start(t, rpc.Limits{})
	c := s.dial(operator)
	for _, name := range append(everyMethod, "daemon.shutdown") {
		for _, params := range []string{"", "null", "{}"} {
			require.Nil(t, c.call(name, params).Error, "%s %s", name, params)
		}
		if name != "rpc.echo" {
			require.Equal(t, rpc.CodeInvalidParams, c.call(name, `{"unknown":1}`).Error.Code, name)
		}
	}
	for range 3 {
		<-s.stops
	}
	require.Empty(t, s.stops, "a call that was refused has stopped the daemon")
}

// In Python 3 and 3.0 are different types, and clients of the Python server
// expect a float.
func TestSecondsAndMegabytesHaveADecimalPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, rpc.Limits{})
		c := s.dial(stranger)
		for _, after := range []string{"0.0", "3.0", "4.5"} {
			d, err := time.ParseDuration(after + "s")
			require.NoError(t, err)
			time.Sleep(time.Until(s.daemon.Started.Add(d)))
			for _, name := range []string{"daemon.health", "daemon.ready", "daemon.status"} {
				require.Contains(t, string(c.call(name, "").Result), `"uptime_seconds":`+after+`,`)
			}
		}
		require.Regexp(t, `"memory_usage_mb":[1-9][0-9]*\.[0-9]`, string(c.call("daemon.status", "").Result))
	})
}

func TestStatusHasWhatClientsOfThePythonServerRead(t *testing.T) {
	s := start(t, rpc.Limits{MaxConnections: 7})
	var got struct {
		PID             int
		Version         string
		RunningJobs     *int           `json:"running_jobs"`
		TotalJobsActive *int           `json:"total_jobs_active"`
		TotalRequests   int            `json:"total_requests"`
		Connections     int            `json:"connections"`
		Limits          map[string]any `json:"limits"`
	}
	s.dial(stranger).result("daemon.status", &got)
	require.Equal(t, os.Getpid(), got.PID)
	require.Equal(t, "1.2.3", got.Version)
	require.Equal(t, 0, *got.RunningJobs)
	require.Equal(t, 0, *got.TotalJobsActive)
	require.Equal(t, 1, got.TotalRequests)
	require.Equal(t, 1, got.Connections)
	require.Equal(t, 7.0, got.Limits["max_connections"])
	require.Equal(t, 30.0, got.Limits["queue_timeout_seconds"])
	require.Len(t, got.Limits, reflect.TypeFor[rpc.Limits]().NumField())
}

func TestEveryLimitIsShownUnderItsName(t *testing.T) {
	text := Limits(rpc.Limits{MaxConnectionsPerUID: 3, WriteTimeout: 1500 * time.Millisecond})
	require.True(t, json.Valid(text))
	require.Contains(t, string(text), `"max_connections_per_uid":3,`)
	require.Contains(t, string(text), `"write_timeout_seconds":1.5,`)
}

func TestControlMethodsAnswerWhileAllSlotsAreTaken(t *testing.T) {
	g := newGate()
	s := start(t, rpc.Limits{MaxConcurrentRequests: 1}, &rpc.Method{Name: "gate", Handler: g})
	busy := s.dial(operator)
	busy.send(`{"jsonrpc":"2.0","id":1,"method":"gate"}`)
	<-g.entered
	busy.send(`{"jsonrpc":"2.0","id":2,"method":"rpc.echo"}`) // waits in the queue
	c := s.dial(stranger)
	for s.server.Stats().Queued == 0 {
		runtime.Gosched()
	}
	for _, name := range []string{"rpc.ping", "rpc.discover", "daemon.health", "daemon.ready"} {
		require.Nil(t, c.call(name, "").Error, name)
	}
	var status struct {
		RunningJobs     int `json:"running_jobs"`
		TotalJobsActive int `json:"total_jobs_active"`
		Queued          int `json:"queued"`
	}
	c.result("daemon.status", &status)
	require.Equal(t, 1, status.RunningJobs)
	require.Equal(t, 2, status.TotalJobsActive)
	require.Equal(t, 1, status.Queued)
	close(g.open)
	require.ElementsMatch(t, []string{
		`{"jsonrpc":"2.0","id":1,"result":"through"}`,
		`{"jsonrpc":"2.0","id":2,"result":null}`,
	}, []string{busy.line(), busy.line()})
}

func TestControlMethodsAnswerDuringADrain(t *testing.T) {
	g := newGate()
	s := start(t, rpc.Limits{}, &rpc.Method{Name: "gate", Handler: g})
	c := s.dial(operator)
	c.send(`{"jsonrpc":"2.0","id":"slow","method":"gate"}`)
	<-g.entered
	drained := make(chan error, 1)
	go func() { drained <- s.server.Shutdown(context.Background()) }()
	for !s.server.Stats().Draining {
		runtime.Gosched()
	}
	var health struct {
		Status       string
		ShuttingDown bool `json:"shutting_down"`
	}
	c.result("daemon.health", &health)
	require.Equal(t, "ok", health.Status)
	require.True(t, health.ShuttingDown)
	var ready struct {
		Status        string
		AcceptingWork bool `json:"accepting_work"`
	}
	c.result("daemon.ready", &ready)
	require.Equal(t, "not_ready", ready.Status)
	require.False(t, ready.AcceptingWork)
	for _, name := range []string{"rpc.ping", "rpc.discover", "daemon.status"} {
		require.Nil(t, c.call(name, "").Error, name)
	}
	require.Equal(t, rpc.CodeShuttingDown, c.call("rpc.echo", "").Error.Code)
	close(g.open)
	require.Equal(t, `{"jsonrpc":"2.0","id":"slow","result":"through"}`, c.line())
	require.NoError(t, <-drained)
}

func TestConfigShowsWhatTheProgramSays(t *testing.T) {
	registry := new(rpc.Methods)
	server := &rpc.Server{Methods: registry}
	require.NoError(t, Register(registry, Daemon{Server: server, Config: func() any {
		return map[string]string{"socket": "/run/x"}
	}}))
	result, err := registry.Lookup("daemon.config").Handler.ServeRPC(context.Background(), &rpc.Request{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"socket": "/run/x"}, result)
	require.Nil(t, registry.Lookup("daemon.shutdown"), "there is nothing to stop")
	require.ErrorContains(t, Register(registry, Daemon{Server: server}), `"rpc.ping" is registered already`)
}
