package cli

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

const openRPC = `{"openrpc":"1.3.2","methods":[
	{"name":"rpc.ping","summary":"Answer \"pong\"","params":[],"result":{"name":"result","schema":{"const":"pong"}}},
	{"name":"disk.usage","summary":"Free space","description":"In bytes.\nOf one file system.","params":[
		{"name":"path","required":true,"summary":"A folder","schema":{"type":"string","pattern":"^/","maxLength":4096,"title":"Path"}},
		{"name":"unit","schema":{"type":["string","null"]}},
		{"name":"any","schema":true}],
	 "result":{"name":"result","schema":{"type":"object","required":["free"],"properties":{"size":{"type":"integer"},"free":{"type":"integer","description":"bytes"}}}}},
	{"name":"rpc.echo","params":[],"paramStructure":"either"},
	{"name":"log.follow","summary":"\u001b[31mLines","deprecated":true,"x-stream":true,"params":[]}]}`

func TestMethodsAreListedByName(t *testing.T) {
	d, err := parseDocument(json.RawMessage(openRPC))
	require.NoError(t, err)
	require.Equal(t, ""+
		"disk.usage  Free space\n"+
		"log.follow  \\u001b[31mLines (stream)\n"+
		"rpc.echo\n"+
		"rpc.ping    Answer \"pong\"\n", formatMethods(d, palette{}))
	require.Contains(t, formatMethods(d, palette{on: true}), "\x1b[1mrpc.ping\x1b[0m    Answer")
}

func TestAMethodIsDescribedWithItsTypes(t *testing.T) {
	d, err := parseDocument(json.RawMessage(openRPC))
	require.NoError(t, err)
	require.Equal(t, ""+
		"disk.usage\n"+
		"  Free space\n"+
		"  In bytes.\n"+
		"  Of one file system.\n"+
		"\n"+
		"params\n"+
		"  path  string       required  A folder  matching ^/, at most 4096 characters\n"+
		"  unit  string|null  optional\n"+
		"  any   any          optional\n"+
		"\n"+
		"result\n"+
		"  object\n"+
		"    size  integer  optional\n"+
		"    free  integer  required  bytes\n", formatMethod(d.Methods[d.index("disk.usage")], palette{}))
	require.Equal(t, ""+
		"log.follow\n"+
		"  \\u001b[31mLines\n"+
		"  Deprecated.\n"+
		"  A stream: `marianned call --stream` prints its events as they come.\n"+
		"\n"+
		"params\n"+
		"  none\n"+
		"\n"+
		"result\n"+
		"  any\n", formatMethod(d.Methods[d.index("log.follow")], palette{}))
	require.Contains(t, formatMethod(d.Methods[d.index("rpc.echo")], palette{}), "params\n  any object or array\n")
	require.Contains(t, formatMethod(d.Methods[d.index("rpc.ping")], palette{}), "result\n  any  always pong\n")
}

func TestAnAnswerThatIsNoDocumentIsRefused(t *testing.T) {
	for _, text := range []string{`[]`, `"pong"`, `{"methods":1}`, `{"methods":[{"name":1}]}`, `{"methods":[{"params":{}}]}`} {
		_, err := parseDocument(json.RawMessage(text))
		require.ErrorContains(t, err, "no OpenRPC document", text)
	}
	for _, text := range []string{`null`, `{}`} {
		d, err := parseDocument(json.RawMessage(text))
		require.NoError(t, err)
		require.Empty(t, d.Methods)
	}
}

func TestStatusShowsWhatTheDaemonSent(t *testing.T) {
	text, err := formatStatus(json.RawMessage(`{"pid":42,"uptime_seconds":93784.25,"version":"1.2\u001b","big":12345678901234567890,"refusals":{},`+
		`"limits":{"max_batch":100,"idle_timeout_seconds":300,"deep":{"a":[1]}},"ready":true,"lost_seconds":null,"last":null}`), palette{})
	require.NoError(t, err)
	require.Equal(t, ""+
		"pid           42\n"+
		"uptime        26h3m4.25s\n"+
		"version       1.2\\u001b\n"+
		"big           12345678901234567890\n"+
		"refusals      none\n"+
		"limits\n"+
		"  max batch     100\n"+
		"  idle timeout  5m0s\n"+
		"  deep          {\"a\":[1]}\n"+
		"ready         true\n"+
		"lost seconds  null\n"+
		"last          null\n", text)
	for text, want := range map[string]string{`[1]`: "found an array", `"x"`: "found a string", ``: "not JSON", `{"a":`: "not JSON"} {
		_, err := formatStatus(json.RawMessage(text), palette{})
		require.ErrorContains(t, err, want, text)
	}
}

func TestConstraintsAreSaidInWords(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"integer","minimum":1,"maximum":9,"default":5}`:         "integer: at least 1, at most 9, default: 5",
		`{"enum":["a","b c",3,null]}`:                                    "any: one of: a, \"b c\", 3, null",
		`{"type":"string","format":"date","sensitive":true}`:             "string: in the format date, never logged",
		`{"type":"string","default":""}`:                                 "string: default: \"\"",
		`{"type":"array","maxItems":3,"items":{"type":"string"}}`:        `array: at most 3 items, {"items":{"type":"string"}}`,
		`{"type":"string","pattern":"^[^-]\u001b"}`:                      `string: matching ^[^-]\u001b`,
		`{"exclusiveMinimum":0,"exclusiveMaximum":1.5,"multipleOf":0.5}`: "any: above 0, below 1.5, a multiple of 0.5",
	} {
		kind, rest := formatSchema(json.RawMessage(schema))
		require.Equal(t, want, kind+": "+rest, schema)
	}
}
