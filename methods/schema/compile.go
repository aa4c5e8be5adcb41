package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/marianned/marianned/rpc"
)

// resource is the URL under which a schema is compiled. It has no meaning, but
// what is relative in it must be nowhere.
const resource = "marianned:schema"

// Schema is a compiled one. Its methods may be called from any goroutine.
type Schema struct {
	compiled *jsonschema.Schema
	text     rpc.RawMessage
}

// Error is what is wrong with a schema, and where in it.
type Error struct {
	Path    []string // from the root of the schema
	Message string
}

func (e *Error) Error() string {
	if len(e.Path) == 0 {
		return e.Message
	}
	return strings.Join(e.Path, ".") + ": " + e.Message
}

// Compile compiles a schema as a TOML decoder returns it. Unlike the standard
// has it, "format" is a rule, not only a remark: who writes format = "ipv4"
// expects it to be kept; and a keyword that is none is an error. Errors are of type *Error.
func Compile(table map[string]any) (*Schema, error) {
	normal, err := normalize(table, nil)
	if err != nil {
		return nil, err
	}
	if err := checkKeywords(normal, nil); err != nil {
		return nil, err
	}
	text, err := json.Marshal(normal)
	if err != nil {
		return nil, &Error{Message: err.Error()}
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, &Error{Message: err.Error()}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(nowhere{})
	if err := c.AddResource(resource, document); err != nil {
		return nil, describe(err)
	}
	compiled, err := c.Compile(resource)
	if err != nil {
		return nil, describe(err)
	}
	return &Schema{compiled, text}, nil
}

// nowhere refuses every schema that is not part of the one being compiled.
type nowhere struct{}

func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("a reference must stay in its schema, as \"#/$defs/name\" does; nothing is loaded from %s", url)
}

// normalize makes what TOML knows into what JSON knows.
func normalize(value any, path []string) (any, error) {
	below := func(key string) []string { return append(path[:len(path):len(path)], key) }
	switch v := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, member := range v {
			normal, err := normalize(member, below(key))
			if err != nil {
				return nil, err
			}
			object[key] = normal
		}
		return object, nil
	case []any:
		array := make([]any, len(v))
		for i, item := range v {
			normal, err := normalize(item, below(strconv.Itoa(i)))
			if err != nil {
				return nil, err
			}
			array[i] = normal
		}
		return array, nil
	case string, bool, int64:
		return v, nil
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, &Error{path, fmt.Sprintf("found %v, expected a number that JSON has", v)}
		}
		return v, nil
	}
	return nil, &Error{path, "found a date or time, expected it in quotes: JSON has no such value"}
}

// describe says where in the schema its compiler stumbled.
func describe(err error) *Error {
	var meta *jsonschema.SchemaValidationError
	var validation *jsonschema.ValidationError
	if errors.As(err, &meta) && errors.As(meta.Err, &validation) {
		problems := flatten(validation)
		p := problems[0]
		return &Error{unpoint(p.Path), fmt.Sprintf("no JSON Schema of 2020-12: %s", p.Message)}
	}
	var pattern *jsonschema.InvalidRegexError
	if errors.As(err, &pattern) {
		return &Error{unpoint(fragment(pattern.URL)), fmt.Sprintf("the pattern %q: %v", pattern.Regex, pattern.Err)}
	}
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		return &Error{nil, load.Err.Error()}
	}
	return &Error{nil, strings.ReplaceAll(err.Error(), resource, "")}
}

func fragment(url string) string {
	_, pointer, _ := strings.Cut(url, "#")
	return pointer
}

// unpoint splits a JSON Pointer (RFC 6901).
func unpoint(pointer string) []string {
	if pointer == "" {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return parts
}

func point(parts []string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(part, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// Text returns the schema as JSON.
func (s *Schema) Text() rpc.RawMessage { return s.text }

// Decode reads a JSON text that must fit the schema. An error is of type
// Problems.
func (s *Schema) Decode(text []byte) (any, error) {
	value, err := decode(text)
	if err != nil {
		var syntax *syntaxError
		if errors.As(err, &syntax) {
			return nil, Problems{{syntax.path, "json", syntax.message}}
		}
		return nil, err
	}
	var invalid *jsonschema.ValidationError
	switch err := s.compiled.Validate(value); {
	case err == nil:
		return value, nil
	case errors.As(err, &invalid):
		return nil, flatten(invalid)
	default:
		return nil, err
	}
}

// sortProblems puts those first that lie highest: a missing member before one
// that is wrong inside.
func sortProblems(problems Problems) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if depth := strings.Count(a.Path, "/") - strings.Count(b.Path, "/"); depth != 0 {
			return depth
		}
		return strings.Compare(a.Path+a.Rule, b.Path+b.Rule)
	})
}
