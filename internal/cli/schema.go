package cli

import (
	"encoding/json"
	"strings"
)

// annotations are no constraints.
var annotations = []string{"type", "title", "description", "$schema", "$id", "$comment", "examples"}

// phrases say a constraint of JSON Schema as a person would; %s is its value.
var phrases = []struct{ key, text string }{
	{"const", "always %s"},
	{"enum", "one of: %s"},
	{"format", "in the format %s"},
	{"pattern", "matching %s"},
	{"minLength", "at least %s characters"},
	{"maxLength", "at most %s characters"},
	{"minimum", "at least %s"},
	{"exclusiveMinimum", "above %s"},
	{"maximum", "at most %s"},
	{"exclusiveMaximum", "below %s"},
	{"multipleOf", "a multiple of %s"},
	{"minItems", "at least %s items"},
	{"maxItems", "at most %s items"},
	{"default", "default: %s"},
}

// formatSchema splits a JSON Schema into the name of its type and the rest: in
// words, and what there are no words for as JSON with sorted names. Annotations
// that are no constraint are left out.
func formatSchema(schema json.RawMessage) (kind, rest string) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(schema, &members); err != nil {
		// true, false, or nothing at all
		if string(schema) == "false" {
			return "nothing", ""
		}
		return "any", ""
	}
	kind = "any"
	var one string
	var several []string
	switch t := members["type"]; {
	case json.Unmarshal(t, &one) == nil:
		kind = one
	case json.Unmarshal(t, &several) == nil && len(several) > 0:
		kind = strings.Join(several, "|")
	case members["type"] == nil && members["$ref"] != nil:
		kind = "see"
	}
	for _, name := range annotations {
		delete(members, name)
	}
	var said []string
	for _, p := range phrases {
		if value, found := members[p.key]; found {
			said = append(said, strings.Replace(p.text, "%s", plain(value), 1))
			delete(members, p.key)
		}
	}
	if string(members["sensitive"]) == "true" {
		said = append(said, "never logged")
		delete(members, "sensitive")
	}
	if len(members) > 0 {
		if text, err := json.Marshal(members); err == nil {
			said = append(said, string(text))
		}
	}
	return visible(kind), visible(strings.Join(said, ", "))
}

// plain writes a value without what JSON needs and a reader does not: quotes
// where they hold nothing together, brackets around a list.
func plain(value json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) == nil && len(list) > 0 {
		items := make([]string, len(list))
		for i, item := range list {
			items[i] = plain(item)
		}
		return strings.Join(items, ", ")
	}
	var text string
	if json.Unmarshal(value, &text) == nil && text != "" && !strings.ContainsAny(text, " ,\"") {
		return text
	}
	compact, err := compactJSON(value)
	if err != nil {
		return string(value)
	}
	return string(compact)
}
