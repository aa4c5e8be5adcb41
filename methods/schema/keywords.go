package schema

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/marianned/marianned/internal/suggest"
)

// holds says which schemas stand below a keyword.
type holds int

const (
	nothing holds = iota
	one           // a schema
	many          // a list of them
	named         // a table of them, by name
)

// keywords are those of JSON Schema 2020-12, and ours.
var keywords = map[string]holds{
	sensitiveKey: nothing,
	// Core, section 8.
	"$schema": nothing, "$id": nothing, "$anchor": nothing, "$dynamicAnchor": nothing, "$ref": nothing,
	"$dynamicRef": nothing, "$vocabulary": nothing, "$comment": nothing, "$defs": named,
	// Core, sections 10 and 11.
	"allOf": many, "anyOf": many, "oneOf": many, "not": one, "if": one, "then": one, "else": one, "dependentSchemas": named,
	"prefixItems": many, "items": one, "contains": one,
	"properties": named, "patternProperties": named, "additionalProperties": one, "propertyNames": one,
	"unevaluatedItems": one, "unevaluatedProperties": one,
	// Validation, section 6.
	"type": nothing, "enum": nothing, "const": nothing,
	"multipleOf": nothing, "maximum": nothing, "exclusiveMaximum": nothing, "minimum": nothing, "exclusiveMinimum": nothing,
	"maxLength": nothing, "minLength": nothing, "pattern": nothing,
	"maxItems": nothing, "minItems": nothing, "uniqueItems": nothing, "maxContains": nothing, "minContains": nothing,
	"maxProperties": nothing, "minProperties": nothing, "required": nothing, "dependentRequired": nothing,
	// Validation, sections 7 to 9.
	"format": nothing, "contentEncoding": nothing, "contentMediaType": nothing, "contentSchema": one,
	"title": nothing, "description": nothing, "default": nothing, "deprecated": nothing, "readOnly": nothing,
	"writeOnly": nothing, "examples": nothing,
}

// formats are those that are checked.
var formats = []string{
	"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "iri", "iri-reference", "json-pointer",
	"period", "regex", "relative-json-pointer", "semver", "time", "uri", "uri-reference", "uri-template", "uuid",
}

const dialect = "https://json-schema.org/draft/2020-12/schema"

// checkKeywords finds what the standard would have passed over: a keyword that is
// none, which a rule that was misspelt looks like, and which then keeps nobody from
// anything. One that begins with "x-" is somebody's own.
func checkKeywords(value any, path []string) error {
	table, ok := value.(map[string]any)
	if !ok {
		return nil // true or false, or what is no schema, which is found later
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		below := append(path[:len(path):len(path)], key)
		kind, known := keywords[key]
		switch {
		case strings.HasPrefix(key, "x-"):
			continue
		case !known:
			hint := "expected one of JSON Schema 2020-12, or x-" + key + " for a remark"
			if meant := suggest.Nearest(key, slices.Sorted(maps.Keys(keywords))); meant != "" {
				hint = fmt.Sprintf("did you mean %q?", meant)
			}
			return &Error{below, fmt.Sprintf("%q is no keyword of a schema: %s", key, hint)}
		}
		if err := checkValue(key, table[key], below); err != nil {
			return err
		}
		if err := checkBelow(kind, table[key], below); err != nil {
			return err
		}
	}
	return nil
}

// checkValue looks at those values with which a schema would mean something else,
// or nothing.
func checkValue(key string, value any, path []string) error {
	text, ok := value.(string)
	switch {
	case !ok:
	case key == "$schema" && strings.TrimSuffix(text, "#") != dialect:
		return &Error{path, fmt.Sprintf("found %q, expected %q, or nothing", text, dialect)}
	case key == "format" && !slices.Contains(formats, text):
		hint := "expected one of: " + strings.Join(formats, ", ")
		if meant := suggest.Nearest(text, formats); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
		return &Error{path, fmt.Sprintf("%q is no format that is checked: %s", text, hint)}
	}
	return nil
}

func checkBelow(kind holds, value any, path []string) error {
	switch kind {
	case one:
		return checkKeywords(value, path)
	case many:
		items, _ := value.([]any)
		for i, item := range items {
			if err := checkKeywords(item, append(path[:len(path):len(path)], strconv.Itoa(i))); err != nil {
				return err
			}
		}
	case named:
		members, _ := value.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if err := checkKeywords(members[name], append(path[:len(path):len(path)], name)); err != nil {
				return err
			}
		}
	}
	return nil
}
