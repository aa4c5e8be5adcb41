package cli

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/methods/definition"
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
