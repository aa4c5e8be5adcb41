package conffile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/marianned/marianned/internal/suggest"
)

// UnknownKeys reports the keys of a file that mean nothing: those that lookUp
// does not find, which returns the keys that are known in their place. The TOML
// library would do so too, but not for a key in other letter case, nor with what
// was meant.
func (x *Index) UnknownKeys(lookUp func(path []string) (known []string, found bool), findings *Findings) {
	var unknown []string // tables whose keys need no second report
	for _, path := range x.Paths {
		if slices.ContainsFunc(unknown, func(table string) bool { return strings.HasPrefix(joinPath(path), table) }) {
			continue
		}
		known, found := lookUp(path)
		if found {
			continue
		}
		unknown = append(unknown, joinPath(path)+pathSeparator)
		key, table := path[len(path)-1], describePath(path[:len(path)-1])
		hint := "expected one of: " + strings.Join(known, ", ")
		if meant := suggest.Nearest(key, known); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
		findings.Add(x.At(path...), "unknown key %q%s; %s", key, table, hint)
	}
}

// describePath returns ` in [methods."disk.usage"]`, or "" for the root.
func describePath(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return " in [" + dotted(path) + "]"
}

// dotted returns a path as TOML writes it.
func dotted(path []string) string {
	parts := make([]string, len(path))
	for i, key := range path {
		parts[i] = quoteKey(key)
	}
	return strings.Join(parts, ".")
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func quoteKey(key string) string {
	if bareKey.MatchString(key) {
		return key
	}
	return fmt.Sprintf("%q", key)
}
