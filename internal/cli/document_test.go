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
		"  path  string       required  A folder  {\"maxLength\":4096,\"pattern\":\"^/\"}\n"+
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
	require.Contains(t, formatMethod(d.Methods[d.index("rpc.ping")], palette{}), "result\n  any  {\"const\":\"pong\"}\n")
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
