package schema

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marianned/marianned/rpc"
)

// compile reads the schema of params as an operator writes it.
func compile(t testing.TB, text string) (*Params, error) {
	t.Helper()
	var table map[string]any
	require.NoError(t, toml.Unmarshal([]byte(text), &table), text)
	return CompileParams(table)
}

func params(t testing.TB, text string) *Params {
	t.Helper()
	p, err := compile(t, text)
	require.NoError(t, err, text)
	return p
}

func TestParamsThatDoNotFitAreRefusedWithPathAndRule(t *testing.T) {
	p := params(t, `
required = ["path"]
properties.path = { type = "string", pattern = "^/", maxLength = 5 }
properties.count = { type = "integer", minimum = 1, exclusiveMaximum = 10 }
properties.kind = { enum = ["a", "b"] }
properties.list = { type = "array", maxItems = 1, items = { type = "boolean" } }
properties.when = { type = "string", format = "date" }
`)
	for text, want := range map[string][]Problem{
		`{}`:                                 {{"/path", "required", "is missing"}},
		`{"path":1}`:                         {{"/path", "type", "is of type number, expected string"}},
		`{"path":"x"}`:                       {{"/path", "pattern", "does not match the pattern ^/"}},
		`{"path":"/äöüß5"}`:                  {{"/path", "maxLength", "has 6 characters, expected at most 5"}},
		`{"path":"/","count":0}`:             {{"/count", "minimum", "is too small, expected at least 1"}},
		`{"path":"/","count":10}`:            {{"/count", "exclusiveMaximum", "is too large, expected less than 10"}},
		`{"path":"/","count":1.5}`:           {{"/count", "type", "is of type number, expected integer"}},
		`{"path":"/","kind":"c"}`:            {{"/kind", "enum", `is none of: "a", "b"`}},
		`{"path":"/","list":[true,1]}`:       {{"/list", "maxItems", "has 2 items, expected at most 1"}, {"/list/1", "type", "is of type number, expected boolean"}},
		`{"path":"/","when":"2026-02-30"}`:   {{"/when", "format", "is no date"}},
		`{"path":"/","count":0,"kind":null}`: {{"/count", "minimum", "is too small, expected at least 1"}, {"/kind", "enum", `is none of: "a", "b"`}},
	} {
		_, _, err := p.Decode(rpc.RawMessage(text))
		var problems Problems
		require.ErrorAs(t, err, &problems, text)
		require.Equal(t, Problems(want), problems, text)
		wire := problems.InvalidParams()
		require.Equal(t, rpc.CodeInvalidParams, wire.Code)
		require.Contains(t, wire.Message, want[0].Message)
	}
	for _, text := range []string{`{"path":"/"}`, `{"path":"/","count":9.0,"kind":"a","list":[false],"when":"2024-02-29"}`} {
		_, full, err := p.Decode(rpc.RawMessage(text))
		require.NoError(t, err, text)
		require.Equal(t, text, string(full), "as they came")
	}
}

// A misspelt name is a mistake to tell.
func TestAParameterThatTheSchemaDoesNotNameIsRefused(t *testing.T) {
	_, _, err := params(t, `properties.path = {}`).Decode(rpc.RawMessage(`{"pth":1}`))
	require.ErrorContains(t, err, "pth")
	_, _, err = params(t, "").Decode(rpc.RawMessage(`{"a":1}`))
	require.Error(t, err, "there are none")
	values, _, err := params(t, "").Decode(nil)
	require.NoError(t, err)
	require.Empty(t, values)
	for _, open := range []string{`additionalProperties = true`, `patternProperties."^x" = {}`, `allOf = [{ properties.x = {} }]`} {
		_, _, err = params(t, open).Decode(rpc.RawMessage(`{"x":1}`))
		require.NoError(t, err, open)
	}
	_, _, err = params(t, `allOf = [{ properties.x = {} }]`).Decode(rpc.RawMessage(`{"y":1}`))
	require.Error(t, err)
}

func TestADefaultIsFilledInWhereAParameterIsAbsent(t *testing.T) {
	p := params(t, `
properties.a = { type = "string", default = "<x>" }
properties.b = { type = "integer", default = 5 }
properties.c = {}
`)
	for text, want := range map[string]string{
		`{}`:                                 `{"a":"<x>","b":5}`,
		` { } `:                              `{"a":"<x>","b":5}`,
		`{"c":null}`:                         `{"a":"<x>","b":5,"c":null}`,
		`{"a":"y","c":12345678901234567890}`: `{"b":5,"a":"y","c":12345678901234567890}`,
		`{"b":7,"a":""}`:                     `{"b":7,"a":""}`,
	} {
		values, full, err := p.Decode(rpc.RawMessage(text))
		require.NoError(t, err)
		require.Equal(t, want, string(full))
		var same map[string]any
		d := json.NewDecoder(strings.NewReader(want))
		d.UseNumber()
		require.NoError(t, d.Decode(&same))
		require.Len(t, values, len(same))
	}
	_, err := compile(t, `properties.a = { type = "string", default = 5 }`)
	require.EqualError(t, err, "properties.a.default: the default does not fit the parameter's own schema")
}

func TestASchemaThatIsNoneIsAMistakeWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		`type = "array"`:                                         "type: found array, expected \"object\"",
		`properties.a = { type = "text" }`:                       "properties.a.type",
		`properties.a = { pattern = "(" }`:                       "properties.a.pattern",
		`properties.a = { "$ref" = "https://example.org/x" }`:    "nothing is loaded from",
		`properties.a = { "$ref" = "file:///etc/passwd" }`:       "nothing is loaded from",
		`properties.a = { sensitive = "yes" }`:                   "properties.a.sensitive: expected true or false",
		`properties.a = { properties.b = { sensitive = true } }`: "only a parameter as a whole can be sensitive",
		`properties.a = { default = 2026-01-01 }`:                "expected it in quotes",
	} {
		_, err := compile(t, text)
		require.ErrorContains(t, err, want, text)
		var e *Error
		require.ErrorAs(t, err, &e)
	}
}

func TestASecretIsKnownByItsParameter(t *testing.T) {
	p := params(t, "properties.a = { sensitive = true }\nproperties.b = {}")
	for text, want := range map[string]bool{`{}`: false, `{"b":1}`: false, `{"a":null}`: true} {
		values, _, err := p.Decode(rpc.RawMessage(text))
		require.NoError(t, err)
		require.Equal(t, want, p.Secret(values), text)
	}
}

func TestTextThatTwoReadersUnderstandDifferentlyIsRefused(t *testing.T) {
	p := params(t, "additionalProperties = true")
	for _, text := range []string{`{"a":1,"a":2}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1e999999999}`, `{"a":` + strings.Repeat("1", 10_000) + `}`} {
		_, _, err := p.Decode(rpc.RawMessage(text))
		var problems Problems
		require.ErrorAs(t, err, &problems, "%.40s", text)
	}
}

func TestWhatCouldBeTakenForAnOption(t *testing.T) {
	for schema, want := range map[string]bool{
		`{ type = "string" }`:                        true,
		`{ type = "string", pattern = "^/" }`:        false,
		`{ type = "string", pattern = "^[^-]" }`:     false,
		`{ type = "string", pattern = "/" }`:         true,
		`{ type = "string", pattern = "^[a-z-]+$" }`: true,
		`{ type = "string", pattern = "(?m)^/" }`:    true,
		`{ type = "string", pattern = "^(a|b)$|c" }`: true,
		`{ type = "string", format = "date" }`:       false,
		`{ type = "integer" }`:                       true,
		`{ type = "integer", minimum = 0 }`:          false,
		`{ type = "number", exclusiveMinimum = 0 }`:  false,
		`{ type = "boolean" }`:                       false,
		`{ type = ["boolean", "string"] }`:           true,
		`{ enum = ["a", "b"] }`:                      false,
		`{ enum = ["a", "-b"] }`:                     true,
		`{ enum = [-1] }`:                            true,
		`{ const = "-" }`:                            true,
	} {
		p := params(t, "properties.a = "+schema).Parameter("a")
		require.NoError(t, p.CheckScalar(), schema)
		require.Equal(t, want, p.MayBeginWithDash(), schema)
	}
	for schema, want := range map[string]string{
		`{}`:                            "names no type",
		`{ type = "array" }`:            "of type array",
		`{ type = ["string", "null"] }`: "of type null",
		`{ enum = ["a", ["b"]] }`:       "an array",
	} {
		require.ErrorContains(t, params(t, "properties.a = "+schema).Parameter("a").CheckScalar(), want, schema)
	}
}

// It may say yes too often, but a no is a promise.
func TestAPatternSaidToExcludeADashDoes(t *testing.T) {
	part := rapid.SampledFrom([]string{"^", "$", "-", "a", "[^-]", "[a-]", ".", "|", "(?:", ")", "*", "?", "+", `\b`, `\B`, "(?m)", "(?s)", `\A`, `\z`, "{2}", `\n`})
	rapid.Check(t, func(rt *rapid.T) {
		pattern := strings.Join(rapid.SliceOfN(part, 0, 8).Draw(rt, "pattern"), "")
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			rt.Skip()
		}
		text := "-" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"-", "a", "\n", " "}), 0, 5).Draw(rt, "text"), "")
		if compiled.MatchString(text) {
			require.True(rt, matchesDash(pattern), "%q matches %q", pattern, text)
		}
	})
}
