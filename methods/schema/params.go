package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/marianned/marianned/rpc"
)

// Params is the schema of the params of a method: an object, each member of
// which is a parameter.
type Params struct {
	Schema
	parameters map[string]*Parameter
	defaults   []member // of optional parameters, by their names
}

type member struct {
	name string
	text []byte // `"name":value`
	// value as decode has it
	value any
}

// Parameter is one of a method's parameters.
type Parameter struct {
	Name     string
	Required bool
	// Sensitive says that its value must not reach a log.
	Sensitive bool
	// Default stands in for an absent value.
	Default  bool
	compiled *jsonschema.Schema
}

// sensitiveKey marks a parameter in its schema. To JSON Schema it is a remark.
const sensitiveKey = "sensitive"

// CompileParams compiles the schema of params; nil is that of a method without
// parameters. It closes the schema: a parameter that it does not name is
// refused, unless it says itself what is to become of those
// (additionalProperties, patternProperties or unevaluatedProperties). A misspelt
// name is a mistake to tell, not one to pass over. Errors are of type *Error.
func CompileParams(table map[string]any) (*Params, error) {
	table = maps.Clone(table)
	if table == nil {
		table = make(map[string]any)
	}
	if kind, found := table["type"]; found && kind != "object" {
		return nil, &Error{[]string{"type"}, fmt.Sprintf("found %v, expected \"object\": params are named", kind)}
	}
	table["type"] = "object"
	closeObject(table)
	schema, err := Compile(table)
	if err != nil {
		return nil, err
	}
	p := &Params{Schema: *schema, parameters: make(map[string]*Parameter)}
	properties, _ := table["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(schema.compiled.Properties)) {
		if err := p.add(name, properties[name]); err != nil {
			return nil, err
		}
	}
	if path := misplaced(table, nil); path != nil {
		return nil, &Error{path, "only a parameter as a whole can be sensitive"}
	}
	return p, nil
}

func closeObject(table map[string]any) {
	for _, key := range []string{"additionalProperties", "patternProperties", "unevaluatedProperties"} {
		if _, found := table[key]; found {
			return
		}
	}
	closing := "additionalProperties"
	for _, key := range []string{"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas"} {
		if _, found := table[key]; found {
			closing = "unevaluatedProperties" // sees what those name, too
		}
	}
	table[closing] = false
}

func (p *Params) add(name string, property any) error {
	compiled := p.compiled.Properties[name]
	parameter := &Parameter{Name: name, compiled: compiled, Required: slices.Contains(p.compiled.Required, name)}
	p.parameters[name] = parameter
	table, _ := property.(map[string]any)
	if mark, found := table[sensitiveKey]; found {
		sensitive, ok := mark.(bool)
		if !ok {
			return &Error{[]string{"properties", name, sensitiveKey}, "expected true or false"}
		}
		parameter.Sensitive = sensitive
	}
	value, found := table["default"]
	if !found || parameter.Required {
		return nil
	}
	parameter.Default = true
	return p.addDefault(name, value)
}

func (p *Params) addDefault(name string, value any) error {
	path := []string{"properties", name, "default"}
	normal, err := normalize(value, path)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]any{name: normal}); err != nil {
		return &Error{path, err.Error()}
	}
	inner := bytes.TrimSpace(text.Bytes())
	inner = inner[1 : len(inner)-1]
	decoded, err := decode(text.Bytes())
	if err != nil {
		return &Error{path, err.Error()}
	}
	object := decoded.(map[string]any)
	if err := p.parameters[name].compiled.Validate(object[name]); err != nil {
		return &Error{path, "the default does not fit the parameter's own schema"}
	}
	p.defaults = append(p.defaults, member{name, inner, object[name]})
	return nil
}

// misplaced returns the path of a sensitive mark that marks no parameter.
func misplaced(value any, path []string) []string {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := append(path[:len(path):len(path)], key)
			if _, mark := v[key].(bool); mark && key == sensitiveKey && !(len(path) == 2 && path[0] == "properties") {
				return below
			}
			if found := misplaced(v[key], below); found != nil {
				return found
			}
		}
	case []any:
		for i, item := range v {
			if found := misplaced(item, append(path[:len(path):len(path)], fmt.Sprint(i))); found != nil {
				return found
			}
		}
	}
	return nil
}

// Parameter returns the parameter of that name, or nil.
func (p *Params) Parameter(name string) *Parameter { return p.parameters[name] }

// Names returns the names of all parameters, in their order.
func (p *Params) Names() []string { return slices.Sorted(maps.Keys(p.parameters)) }

// Decode reads params that must fit, nil for none, and fills in the defaults of
// absent members: in the values, and in the text that it returns. An error is of
// type Problems.
func (p *Params) Decode(params rpc.RawMessage) (map[string]any, rpc.RawMessage, error) {
	if params == nil {
		params = rpc.RawMessage("{}")
	}
	value, err := p.Schema.Decode(params)
	if err != nil {
		return nil, nil, err
	}
	values := value.(map[string]any)
	var missing []member
	for _, d := range p.defaults {
		if _, found := values[d.name]; !found {
			missing = append(missing, d)
		}
	}
	if missing == nil {
		return values, params, nil
	}
	full := []byte{'{'}
	for i, d := range missing {
		if i > 0 {
			full = append(full, ',')
		}
		full = append(full, d.text...)
	}
	rest := bytes.TrimSpace(bytes.TrimSpace(params)[1:])
	if rest[0] != '}' {
		full = append(full, ',')
	}
	for _, d := range missing {
		values[d.name] = d.value
	}
	return values, append(full, rest...), nil
}

// Secret reports whether a sensitive parameter is among the values.
func (p *Params) Secret(values map[string]any) bool {
	for name := range values {
		if parameter := p.parameters[name]; parameter != nil && parameter.Sensitive {
			return true
		}
	}
	return false
}
