package schema

import (
	"maps"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

func TestAMisspeltRuleIsNotPassedOver(t *testing.T) {
	for text, want := range map[string]string{
		"requred = [\"a\"]":                                 `requred: "requred" is no keyword of a schema: did you mean "required"?`,
		"properties.a.maxLenght = 3":                        `properties.a.maxLenght: "maxLenght" is no keyword of a schema: did you mean "maxLength"?`,
		"properties.a.items.patern = \"x\"":                 `did you mean "pattern"?`,
		"anyOf = [{ min_length = 3 }]":                      `anyOf.0.min_length: "min_length" is no keyword`,
		"\"$defs\".x.sorce = 1":                             `$defs.x.sorce: "sorce" is no keyword`,
		"properties.a.zzzzzz = 1":                           `x-zzzzzz`,
		"properties.a.format = \"ipv5\"":                    `properties.a.format: "ipv5" is no format that is checked: did you mean "ipv4"?`,
		"properties.a.format = \"telephone\"":               `expected one of: date, date-time`,
		"\"$schema\" = \"http://json-schema.org/draft-07\"": `expected "https://json-schema.org/draft/2020-12/schema"`,
	} {
		_, err := compile(t, text)
		require.ErrorContains(t, err, want, text)
	}
	for _, text := range []string{
		"properties.a = { x-widget = \"slider\", const = { requred = 1 }, default = { requred = 1 } }",
		"properties.requred = { type = \"string\", enum = [\"requred\"] }\nproperties.format.const = \"ipv5\"",
		"\"$schema\" = \"https://json-schema.org/draft/2020-12/schema\"\nadditionalProperties = false",
		"dependentRequired.a = [\"b\"]",
	} {
		_, err := compile(t, text)
		require.NoError(t, err, text)
	}
}

// What stands in the list of formats is a rule.
func TestEveryFormatIsChecked(t *testing.T) {
	for _, format := range formats {
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		c.AssertFormat()
		require.NoError(t, c.AddResource("s", map[string]any{"format": format}))
		s, err := c.Compile("s")
		require.NoError(t, err)
		require.NotNil(t, s.Format, format)
		require.Error(t, s.Validate("%zz\x00[ {"), format)
	}
}

// The metaschema knows each keyword, and ours are all there are beside those.
func TestTheKeywordsAreThoseOfTheStandard(t *testing.T) {
	c := jsonschema.NewCompiler()
	meta, err := c.Compile(dialect)
	require.NoError(t, err)
	known := map[string]bool{sensitiveKey: true}
	for _, vocabulary := range append([]*jsonschema.Schema{meta}, meta.AllOf...) {
		if vocabulary.Ref != nil {
			vocabulary = vocabulary.Ref
		}
		for name := range vocabulary.Properties {
			known[name] = true
		}
	}
	for _, old := range []string{"definitions", "dependencies", "$recursiveAnchor", "$recursiveRef"} {
		delete(known, old) // for schemas of earlier drafts
	}
	require.Equal(t, slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(keywords)))
}
