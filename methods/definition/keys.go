package definition

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/marianned/marianned/internal/suggest"
)

// unknownKeys reports the keys of a file that mean nothing. The TOML library
// would do so too, but not for a key in other letter case, nor with what was
// meant.
func unknownKeys(x *index, findings *Findings) {
	var unknown []string // tables whose keys need no second report
	for _, path := range x.paths {
		if slices.ContainsFunc(unknown, func(table string) bool { return strings.HasPrefix(joinPath(path), table) }) {
			continue
		}
		known, found := lookUp(reflect.TypeFor[File](), path)
		if found {
			continue
		}
		unknown = append(unknown, joinPath(path)+pathSeparator)
		key, table := path[len(path)-1], describePath(path[:len(path)-1])
		hint := "expected one of: " + strings.Join(known, ", ")
		if meant := suggest.Nearest(key, known); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
		findings.Add(x.at(path...), "unknown key %q%s; %s", key, table, hint)
	}
}

// lookUp follows a path of keys through the types of a file. Where the last key
// is not there, known are those that are.
func lookUp(t reflect.Type, path []string) (known []string, found bool) {
	for _, key := range path {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
		case reflect.Slice:
			t = t.Elem() // key is a number
		case reflect.Struct:
			field, names := keyOf(t, key)
			if field == nil {
				return names, false
			}
			t = field
		default:
			return nil, true // of any kind, or of a wrong one, which the decoder reports
		}
	}
	return nil, true
}

// keyOf returns the type of the field that a key fills, and the names of all.
func keyOf(t reflect.Type, key string) (field reflect.Type, names []string) {
	for f := range t.Fields() {
		name, tagged := f.Tag.Lookup("toml")
		switch {
		case f.Anonymous && !tagged:
			inner, more := keyOf(f.Type, key)
			names = append(names, more...)
			if inner != nil {
				return inner, names
			}
		case !tagged || name == "-":
		case name == key:
			return f.Type, names
		default:
			names = append(names, name)
		}
	}
	return nil, names
}

// describePath returns ` in [methods."disk.usage"]`, or "" for the root.
func describePath(path []string) string {
	if len(path) == 0 {
		return ""
	}
	parts := make([]string, len(path))
	for i, key := range path {
		parts[i] = quoteKey(key)
	}
	return " in [" + strings.Join(parts, ".") + "]"
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func quoteKey(key string) string {
	if bareKey.MatchString(key) {
		return key
	}
	return fmt.Sprintf("%q", key)
}

var mismatch = regexp.MustCompile(`^cannot decode TOML (.+?) into .*?type (.+)$`)

// describeMismatch makes what the TOML library says about a value of the wrong
// type readable for somebody who does not know our types.
func describeMismatch(message string) string {
	parts := mismatch.FindStringSubmatch(message)
	if parts == nil {
		return message
	}
	return fmt.Sprintf("found %s, expected %s", article(parts[1]), describeType(parts[2]))
}

func describeType(name string) string {
	switch {
	case name == "string":
		return "a string"
	case name == "bool", name == "*bool":
		return "true or false"
	case strings.HasSuffix(name, "int"):
		return "a whole number"
	case strings.HasSuffix(name, "Duration"):
		return `a duration in quotes, such as "10s"`
	case strings.HasPrefix(name, "[]"):
		return "an array, each item of it " + describeType(name[2:])
	}
	return "a table"
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}
