package operator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// An interpreter that every machine with a shell has: a worker of four lines,
// which answers each call with its line, and tells of it before.
var longPath = strings.Repeat("x", 200)

const shellWorker = `#!/bin/sh
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
  *'"method":"sh.watch"'*) echo '{"jsonrpc":"2.0","method":"seen","params":{"subscription":'$id',"by":"'$MARIANNED_WORKER'"}}';;
  esac
  echo '{"jsonrpc":"2.0","id":'$id',"result":'$line'}'
done
`

func TestWorkersAndOtherSocketsAnswerMethods(t *testing.T) {
	program := filepath.Join(t.TempDir(), "worker")
	require.NoError(t, os.WriteFile(program, []byte(shellWorker), 0o700))
	inner := serve(t, `
[workers.sh]
command = ["`+program+`"]

[methods."sh.echo"]
allow = ["everyone"]
worker = "sh"
target = "echo"
params.properties.text = {type = "string", default = "none"}

[methods."sh.watch"]
allow = ["everyone"]
worker = "sh"
stream = true
`)
	outer := serve(t, `
[forwards.inner]
socket = "`+inner.path+`"
max_connections = 2

[methods."far.echo"]
allow = ["everyone"]
forward = "inner"
target = "sh.echo"
params.properties.text = {type = "string"}

[methods."far.watch"]
allow = ["everyone"]
forward = "`+inner.path+`"
target = "sh.watch"
stream = true
event = "told"
`)
	c := outer.dial()
	r := c.call("far.echo", "")
	require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"method":"echo","params":{"text":"none"}}`, string(r.Result), "what the worker was told")
	c.send(`{"jsonrpc":"2.0","id":"s","method":"far.watch"}`)
	r = c.reply()
	require.Equal(t, "told", r.Method)
	require.Equal(t, map[string]any{"subscription": "s", "by": "sh"}, r.Params)
	require.Equal(t, "s", c.reply().ID)
	r = c.call("far.echo", `{"text":5}`)
	require.Equal(t, rpc.CodeInvalidParams, r.Error.Code)
}

func TestWhatIsWrongWithHowAMethodIsAnsweredIsSaidWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		`worker = "indx"`:                              `2:1: the worker "indx" is not defined; did you mean "index"?`,
		`worker = "other"`:                             `2:1: the worker "other" is not defined; add a table [workers.other]`,
		`forward = "index"`:                            `the socket "index" is not defined, and is no absolute path; add a table [forwards.index]`,
		`forward = "/` + longPath + `"`:                `has a path of 201 bytes, expected at most 107`,
		"worker = \"index\"\nexec = [\"/bin/sh\"]":     `2:1: the method "m" has exec and worker: expected one of them`,
		"worker = \"index\"\nforward = \"/x\"":         `3:1: the method "m" has worker and forward: expected one of them`,
		"worker = \"index\"\nstdin = \"params\"":       `3:1: stdin is for a method with exec`,
		"forward = \"/x\"\nresult = \"json\"":          `3:1: result is for a method with exec`,
		"forward = \"/x\"\ntool = \"t\"":               `3:1: tool is set, but no worker`,
		"exec = [\"/bin/sh\"]\ntarget = \"x\"":         `target and tool are for a method with worker or forward`,
		"forward = \"/x\"\n[forwards.y]\nsockt = \"\"": `did you mean "socket"?`,
		"forward = \"/x\"\n[forwards.y]\n":             `3:11: no socket is named`,
	} {
		require.Contains(t, findings(t, "[methods.m]\n"+text+"\n[workers.index]\ncommand = [\"/bin/sh\"]\n"), want, text)
	}
}

// A worker whose replies repeat all that it was told: as an error, or as a result
// with it for a name.
const repeatingWorker = `#!/bin/sh
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  said=${line#*\"password\":\"}; said=${said%%\"*}
  case $line in
  *'"method":"refuse"'*) echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32600,"message":"bad '$said'"}}';;
  *'"method":"break"'*) echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32603,"message":"no '$said'"}}';;
  *) echo '{"jsonrpc":"2.0","id":'$id',"result":{"'$said'":1}}';;
  esac
done
`

// Who is told a secret may repeat it in what it says of the call.
func TestWhatRepeatsASensitiveParameterIsKeptFromTheLog(t *testing.T) {
	program := filepath.Join(t.TempDir(), "worker")
	require.NoError(t, os.WriteFile(program, []byte(repeatingWorker), 0o700))
	const rest = `allow = ["everyone"]
worker = "w"
result_schema = { type = "object", additionalProperties = false }
params.properties.password = { type = "string", sensitive = true }
params.properties.name = { type = "string" }
`
	s := serve(t, "[workers.w]\ncommand = [\""+program+"\"]\n"+
		"[methods.refuse]\n"+rest+"[methods.break]\n"+rest+"[methods.answer]\n"+rest)
	c := s.dial()
	for _, method := range []string{"refuse", "break", "answer"} {
		r := c.call(method, `{"password":"hunter2"}`)
		require.Equal(t, rpc.CodeInternalError, r.Error.Code, method)
	}
	require.NotContains(t, s.log.String(), "hunter2")
	require.Contains(t, s.log.String(), "code -32600")
	require.Contains(t, s.log.String(), "code -32603")
}
