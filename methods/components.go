package methods

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/marianned/marianned/rpc"
)

// components are schemas that others of the document refer to. In a document
// "#" is its root, no longer that of the schema which says it: a schema that
// refers to itself is kept whole here, and what refers to it leads here.
type components struct {
	Schemas map[string]rpc.RawMessage `json:"schemas"`
}

const componentsPath = "#/components/schemas/"

// refer returns a schema whose references are right in the document. name is
// the one that it gets among the components, where it needs to be there.
func (d *document) refer(name string, schema rpc.RawMessage) rpc.RawMessage {
	if !bytes.Contains(schema, []byte(`"$ref"`)) {
		return schema
	}
	decoder := json.NewDecoder(bytes.NewReader(schema))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return schema
	}
	name = componentName(name)
	if !redirect(value, componentsPath+name) {
		return schema
	}
	text, err := json.Marshal(value)
	if err != nil {
		return schema
	}
	if d.Components == nil {
		d.Components = &components{Schemas: make(map[string]rpc.RawMessage)}
	}
	d.Components.Schemas[name] = text
	return text
}

// componentName has nothing that would have to be escaped in a reference.
func componentName(name string) string {
	return strings.NewReplacer("/", "-2F", ":", "-3A").Replace(name)
}

// redirect makes references within the schema lead to it at root, and reports
// whether there are any. What only looks like one, in a value, is left alone.
func redirect(schema any, root string) (found bool) {
	switch s := schema.(type) {
	case []any:
		for _, item := range s {
			found = redirect(item, root) || found
		}
	case map[string]any:
		for key, value := range s {
			switch key {
			case "const", "enum", "default", "examples":
				continue
			case "$ref":
				if text, ok := value.(string); ok && strings.HasPrefix(text, "#") {
					s[key] = root + text[1:]
					found = true
					continue
				}
			}
			found = redirect(value, root) || found
		}
	}
	return found
}
