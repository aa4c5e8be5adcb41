package methods

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// A reference of a schema is one of the whole document then.
func TestReferencesOfASchemaLeadSomewhereInTheDocument(t *testing.T) {
	nothing := rpc.HandlerFunc(func(context.Context, *rpc.Request) (any, error) { return nil, nil })
	s := start(t, rpc.Limits{}, &rpc.Method{
		Name: "a/b:c", Handler: nothing,
		ParamsSchema: rpc.RawMessage(`{"type":"object","$defs":{"unit":{"type":"string","maxLength":12345678901234567890}},
			"properties":{"one":{"$ref":"#/$defs/unit"},"many":{"type":"array","items":{"$ref":"#/$defs/unit"}},
				"like":{"$ref":"#/properties/one"},"data":{"const":{"$ref":"#/x"}},"$ref":{"type":"string"}}}`),
		ResultSchema: rpc.RawMessage(`{"anyOf":[{"type":"null"},{"type":"object","properties":{"next":{"$ref":"#"}}}]}`),
	}, &rpc.Method{Name: "plain", Handler: nothing, ParamsSchema: rpc.RawMessage(`{"properties":{"data":{"const":{"$ref":"#/x"}}}}`)})
	result := s.dial(operator).call(discoverName, "").Result
	var document any
	require.NoError(t, json.Unmarshal(result, &document))

	references := 0
	var follow func(value any)
	follow = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				follow(item)
			}
		case map[string]any:
			for key, item := range v {
				if _, object := item.(map[string]any); object && key == "const" {
					require.Equal(t, map[string]any{"$ref": "#/x"}, item, "a value is none")
					continue
				}
				if text, ok := item.(string); ok && key == "$ref" {
					references++
					require.NotNil(t, at(document, text), text)
				}
				follow(item)
			}
		}
	}
	follow(document)
	require.Equal(t, 3+3+1+1, references, "in the params, the components of both, and the result")
	require.Equal(t, "string", at(document, "#/components/schemas/a-2Fb-3Ac.params/$defs/unit").(map[string]any)["type"])
	require.Contains(t, string(result), `"maxLength":12345678901234567890`)
	require.NotContains(t, string(result), "plain.params")
}

// at returns what a reference leads to, or nil.
func at(document any, reference string) any {
	for _, part := range strings.Split(strings.TrimPrefix(reference, "#/"), "/") {
		object, _ := document.(map[string]any)
		document = object[part]
	}
	return document
}
