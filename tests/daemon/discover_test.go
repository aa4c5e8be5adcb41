package daemon

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// described has what a schema of params can be.
const described = `
[methods."all.kinds"]
summary = "Everything"
allow = ["everyone"]
exec = ["/bin/echo", "{word}"]
positional = ["word", "n"]
[methods."all.kinds".params]
type = "object"
required = ["word"]
properties.word = { type = "string", pattern = "^[^-]", maxLength = 10, description = "a word" }
properties.n = { type = "integer", minimum = 0, exclusiveMaximum = 10, default = 3 }
properties.secret = { type = "string", sensitive = true }
properties.one = { "$ref" = "#/$defs/one" }
properties.list = { type = "array", prefixItems = [{ type = "string" }], items = false }
properties.either = { anyOf = [{ const = 1 }, { enum = ["a", "b"] }], not = { type = "null" } }
properties.when = { type = "string", format = "date-time" }
"$defs".one = { type = "object", properties.next = { "$ref" = "#/$defs/one" }, additionalProperties = false }

[methods."all.stream"]
allow = ["everyone"]
exec = ["/bin/echo"]
stream = true
event = "said"

[methods."with.result"]
allow = ["everyone"]
exec = ["/bin/echo", "1"]
result = "json"
result_schema = { type = "integer", "$comment" = "one" }

[methods."seen.by.root"]
exec = ["/bin/echo"]

[methods."seen.by.nobody"]
allow = []
exec = ["/bin/echo"]
`

func openRPC(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/openrpc.schema.json")
	require.NoError(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("openrpc", document))
	schema, err := c.Compile("openrpc")
	require.NoError(t, err)
	return schema
}

func TestWhatIsDiscoveredIsAnOpenRPCDocument(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	serve(t, path, "--methods", methodsFolder(t, described))
	code, said := ask(t, path, "rpc.discover")
	require.Zero(t, code, said)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(said))
	require.NoError(t, err)
	schema := openRPC(t)
	require.NoError(t, schema.Validate(document))

	var methods struct{ Methods []struct{ Name string } }
	require.NoError(t, json.Unmarshal([]byte(said), &methods))
	seen := map[string]int{}
	for _, m := range methods.Methods {
		seen[m.Name]++
	}
	for name, n := range seen {
		require.Equal(t, 1, n, "%s: a name is unique", name)
	}
	for _, name := range []string{"all.kinds", "all.stream", "with.result"} {
		require.Contains(t, seen, name)
	}
	require.NotContains(t, seen, "seen.by.nobody")
	// Each reference in it leads somewhere in it.
	for _, part := range strings.Split(said, `"$ref":"`)[1:] {
		ref, _, _ := strings.Cut(part, `"`)
		pointer, found := strings.CutPrefix(ref, "#/components/schemas/")
		require.True(t, found, ref)
		at := document.(map[string]any)["components"].(map[string]any)["schemas"]
		for _, name := range strings.Split(pointer, "/") {
			require.Contains(t, at, name, ref)
			at = at.(map[string]any)[name]
		}
	}

	// The rules are rules.
	for _, broken := range []string{
		strings.Replace(said, `"params":`, `"parms":`, 1), strings.Replace(said, `"openrpc":"`, `"openrpc":"x`, 1),
		strings.Replace(said, `"paramStructure":"either"`, `"paramStructure":"any"`, 1), strings.Replace(said, `"maxLength":10`, `"maxLength":"10"`, 1),
	} {
		require.NotEqual(t, said, broken)
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(broken))
		require.NoError(t, err)
		require.Error(t, schema.Validate(document))
	}
}
