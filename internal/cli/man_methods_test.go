package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/forward"
	"github.com/marianned/marianned/methods/operator"
	"github.com/marianned/marianned/methods/program"
	"github.com/marianned/marianned/methods/worker"
)

// keys are those that a table of a file of methods can have.
func keys(table reflect.Type) (keys []string) {
	for _, field := range reflect.VisibleFields(table) {
		if key := field.Tag.Get("toml"); key != "" && key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestTheManPageOfMethodsHasEveryKey(t *testing.T) {
	page := readMan(t, "marianned-methods.5")
	unique := func(sections ...string) (terms []string) {
		seen := map[string]bool{"description": true} // it stands beside summary
		terms = append(terms, "description")
		for _, term := range page.terms(t, sections...) {
			if !seen[term] {
				seen[term] = true
				terms = append(terms, term)
			}
		}
		return terms
	}
	require.ElementsMatch(t, keys(reflect.TypeFor[definition.Method]()), unique("Keys of every method", "Who may call",
		"Keys of a program", "Keys of a method with a worker", "Keys of a method with a forward"))
	require.ElementsMatch(t, keys(reflect.TypeFor[definition.Policy]()), page.terms(t, "Who may call"))
	require.ElementsMatch(t, keys(reflect.TypeFor[definition.Worker]()), page.terms(t, "Keys of a worker"))
	require.ElementsMatch(t, keys(reflect.TypeFor[definition.Forward]()), page.terms(t, "Keys of a forward"))
	require.Contains(t, page["Keys of every method"].text, "**summary**, **description**\n")
	for _, key := range keys(reflect.TypeFor[definition.Initialize]()) {
		require.Contains(t, page["Keys of a worker"].text, "**"+key+"**")
	}
}

// measured is a default that is a number, a time or a path.
var measured = regexp.MustCompile(`Default\s+"?(/|\d+[a-z]*)`)

func TestTheManPageOfMethodsHasTheDefaults(t *testing.T) {
	// As much as there must be in a file.
	file := filepath.Join(t.TempDir(), "least.toml")
	require.NoError(t, os.WriteFile(file, []byte("[workers.w]\ncommand = [\"/bin/true\"]\n[forwards.f]\nsocket = \"/f.sock\"\n"), 0o644))
	least, findings := definition.ReadFiles([]string{file}, definition.Options{})
	require.Empty(t, findings)
	w := worker.Read(least.Workers[0], &findings)
	f := forward.Read(least.Forwards[0], &findings)
	require.Empty(t, findings)
	want := map[string]any{
		"Keys of every method: max_params_bytes": operator.DefaultMaxParamsBytes,
		"Keys of a program: directory":           "/",
		"Keys of a program: max_output_bytes":    program.DefaultMaxOutputBytes,
		"Keys of a worker: directory":            w.Directory,
		"Keys of a worker: processes":            w.Processes,
		"Keys of a worker: max_in_flight":        w.MaxInFlight,
		"Keys of a worker: max_message_bytes":    w.MaxMessageBytes,
		"Keys of a worker: start_timeout":        w.StartTimeout,
		"Keys of a worker: idle_timeout":         w.IdleTimeout,
		"Keys of a worker: stall_timeout":        w.StallTimeout,
		"Keys of a forward: max_connections":     f.MaxConnections,
		"Keys of a forward: connect_timeout":     f.ConnectTimeout,
		"Keys of a forward: idle_timeout":        f.IdleTimeout,
	}
	found := map[string]string{}
	for title, section := range readMan(t, "marianned-methods.5") {
		for _, item := range section.items {
			if match := measured.FindStringSubmatch(item.text); match != nil {
				found[title+": "+item.term] = normalDuration(match[1])
			}
		}
	}
	shown := map[string]string{}
	for key, value := range want {
		shown[key] = fmt.Sprint(value)
	}
	require.Equal(t, shown, found)
}
