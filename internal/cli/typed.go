package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/marianned/marianned/rpc"
)

// mayBeOther reports whether a key=value could be meant as something else than a
// string.
func (m member) mayBeOther() bool { return m.other() != nil }

// other returns the value of a key=value as the JSON that it is besides being a
// text, or nil.
func (m member) other() json.RawMessage {
	if !m.plain {
		return nil
	}
	value, err := compactJSON([]byte(m.text))
	if err != nil || value[0] == '"' { // quotes are part of a text
		return nil
	}
	return value
}

// fillTypes gives each key=value the type that the method's schema names: 5 is a
// number where one is expected, and else a text. The daemon is asked for it only
// where that could make a difference; where it does not say, a text it is.
func fillTypes(ctx context.Context, client *rpc.Client, method string, members []member) {
	if !slices.ContainsFunc(members, member.mayBeOther) {
		return
	}
	result, err := client.CallRaw(ctx, discoverMethod, nil)
	if err != nil {
		return // the call itself will fail, and say why
	}
	d, err := parseDocument(result)
	if err != nil {
		return
	}
	i := d.index(method)
	if i < 0 {
		return
	}
	for _, p := range d.Methods[i].Params {
		for k := range members {
			if m := &members[k]; m.name == p.Name && m.mayBeOther() && takes(p.Schema, m.other()) {
				m.value = m.other()
			}
		}
	}
}

// takes reports whether a schema names the type of a value, and not that of a
// text too.
func takes(schema, value json.RawMessage) bool {
	kind, _ := formatSchema(schema)
	types := strings.Split(kind, "|")
	if slices.Contains(types, "string") {
		return false
	}
	switch value[0] {
	case '{':
		return slices.Contains(types, "object")
	case '[':
		return slices.Contains(types, "array")
	case 't', 'f':
		return slices.Contains(types, "boolean")
	case 'n':
		return slices.Contains(types, "null")
	}
	return slices.Contains(types, "number") || slices.Contains(types, "integer")
}
