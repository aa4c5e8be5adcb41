package systemd

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// The service that is restarted by who may not restart services.
const pages = `
[Service]
ExecStart=/bin/sleep infinity
`

const outsideMethods = `
[methods."pages.restart"]
allow  = ["user:ann"]
user   = "root"
exec   = ["/bin/systemctl", "{verb}", "pages.service"]
stderr = "reply"
[methods."pages.restart".params]
required = ["verb"]
properties.verb = { enum = ["restart", "is-active"] }

[methods."who"]
allow  = ["user:ann", "user:bob"]
runner = "unit"
user   = "bob"
exec   = ["/bin/sh", "-c", "id; echo $MARIANNED_UID; ls /proc/self/fd; grep NoNewPrivs /proc/self/status"]

[methods."fails"]
allow  = ["user:ann"]
user   = "root"
exec   = ["/bin/sh", "-c", "echo why >&2; exit 3"]
stderr = "reply"

[methods."count"]
allow  = ["user:ann"]
user   = "root"
exec   = ["/bin/sh", "-c", "echo 1; echo 2; echo 3"]
stream = true

[methods."lingers"]
user    = "root"
exec    = ["/bin/sh", "-c", "setsid sleep 6543 & trap '' TERM; while :; do sleep 6543; done"]

[methods."lingers.briefly"]
user    = "root"
timeout = "1s"
exec    = ["/bin/sh", "-c", "setsid sleep 6543 & trap '' TERM; while :; do sleep 6543; done"]

[methods."lingers.on"]
user    = "root"
stream  = true
exec    = ["/bin/sh", "-c", "setsid sleep 6543 & trap '' TERM; echo begun; while :; do sleep 6543; done"]

[methods."password"]
allow  = ["user:ann"]
user   = "root"
stdin  = "params"
exec   = ["/bin/sh", "-c", "cat >&2; exit 3"]
params.required = ["new"]
params.properties.new = { type = "string", sensitive = true, pattern = "^tell" }

[methods."inside"]
allow  = ["user:ann"]
exec   = ["/bin/sh", "-c", "ulimit -n"]
limits = { nofile = 32 }

[methods."nice"]
allow  = ["user:ann"]
user   = "bob"
nice   = 7
limits = { nofile = 64 }
exec   = ["/bin/sh", "-c", "nice; ulimit -n; id -un"]
`

func outsideBox(t *testing.T) *box.Box {
	t.Helper()
	b := installed(t)
	user(t, b, "ann", "marianned")
	user(t, b, "bob", "marianned")
	b.Write(t, "/run/systemd/system/pages.service", pages)
	b.Systemctl(t, "daemon-reload")
	b.Systemctl(t, "start", "pages.service")
	t.Cleanup(func() { b.Systemctl(t, "stop", "pages.service") })
	define(t, b, outsideMethods)
	return b
}

func as(t *testing.T, b *box.Box, name string, args ...string) box.Result {
	t.Helper()
	return b.Try(t, box.As(name, append([]string{binary, "call", "--json"}, args...)...)...)
}

func TestAMethodRunsAsTheUserThatItsFileNames(t *testing.T) {
	b := outsideBox(t)
	before := b.Show(t, "pages.service", "MainPID")["MainPID"]
	said := as(t, b, "ann", "pages.restart", "verb=restart")
	require.Zero(t, said.Code, "%+v", said)
	require.NotEqual(t, before, b.Show(t, "pages.service", "MainPID")["MainPID"], "it was restarted")
	require.Contains(t, as(t, b, "ann", "pages.restart", "verb=is-active").Stdout, "active")

	who := as(t, b, "ann", "who")
	require.Zero(t, who.Code, "%+v", who)
	var text string
	require.NoError(t, json.Unmarshal([]byte(who.Stdout), &text), who.Stdout)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Contains(t, lines[0], "(bob)")
	require.Contains(t, lines[0], "(marianned)", "bob's supplementary group")
	require.NotContains(t, lines[0], "(root)")
	require.Equal(t, strings.TrimSpace(b.Run(t, "id", "-u", "ann")), lines[1], "who has called")
	require.Equal(t, []string{"0", "1", "2", "3"}, lines[2:6], "stdin, stdout, stderr, and the folder that ls reads")
	require.Contains(t, lines[6], "0", "it may use what is set-uid, as bob may")

	failed := as(t, b, "ann", "fails")
	require.Equal(t, 1, failed.Code)
	require.Contains(t, failed.Stdout+failed.Stderr, `"exit_status":3`)
	require.Contains(t, failed.Stdout+failed.Stderr, "why")
	stream := as(t, b, "ann", "--stream", "count")
	require.Zero(t, stream.Code, "%+v", stream)
	for _, n := range []string{"1", "2", "3"} {
		require.Contains(t, stream.Stdout, `"line":"`+n+`"`)
	}
	require.Equal(t, "marianned", b.Show(t, serviceUnit, "User")["User"])
	require.Equal(t, `"7\n64\nbob\n"`, strings.TrimSpace(as(t, b, "ann", "nice").Stdout))
	require.Equal(t, `"32\n"`, strings.TrimSpace(as(t, b, "ann", "inside").Stdout), "in the sandbox")

	// Nothing of all that is left.
	box.Await(t, "the services of the calls have ended", func() bool {
		return !strings.Contains(b.Run(t, "systemctl", "list-units", "--all", "--plain", "--no-legend", "marianned-exec@*"), "marianned-exec@")
	})
}

func TestACallerOutsideIsWhoTheRulesAllow(t *testing.T) {
	b := outsideBox(t)
	require.Contains(t, as(t, b, "bob", "pages.restart", "verb=restart").Stderr, "-32601")
	require.Contains(t, as(t, b, "ann", "pages.restart", "verb=stop").Stderr, "-32602")
}

// Who has the daemon's user speaks to the socket as the daemon does.
func TestTheDaemonsUserGetsNoFurtherThanTheFilesAllow(t *testing.T) {
	b := outsideBox(t)
	b.Systemctl(t, "start", "marianned-exec.socket")
	ann, bob := strings.TrimSpace(b.Run(t, "id", "-u", "ann")), strings.TrimSpace(b.Run(t, "id", "-u", "bob"))
	ask := func(name, method, params, uid string) string {
		said := as(t, b, name, "--socket", "/run/marianned-exec.sock", "run", "method="+method, "params:="+params,
			"request_id=r", `peer:={"uid":`+uid+`,"gid":`+uid+`,"pid":1}`)
		return said.Stdout + said.Stderr
	}
	const restart = `{"verb":"is-active"}`
	require.Contains(t, ask("marianned", "pages.restart", restart, ann), "active", "it vouches for the caller")
	require.Contains(t, ask("marianned", "pages.restart", restart, bob), "uid "+bob+" may not call", "not allowed")
	require.Contains(t, ask("marianned", "pages.restart", `{"verb":"stop"}`, ann), "-32602", "params that do not fit")
	require.Contains(t, ask("marianned", "pages.stop", `{}`, ann), "-32601", "not defined")
	require.Contains(t, ask("marianned", "inside", `{}`, ann), "runs in the daemon, not outside of it")
	require.Contains(t, ask("ann", "pages.restart", restart, ann), "permission denied", "nobody else may connect")

	// Not even where the socket's mode lets them.
	b.Run(t, "chmod", "0666", "/run/marianned-exec.sock")
	require.Contains(t, ask("ann", "pages.restart", restart, ann), "does not run the daemon: nothing is run for it")

	// Files that the daemon's user has written count for nothing here.
	b.Run(t, "chown", "marianned", methodsFile)
	require.Contains(t, ask("marianned", "pages.restart", restart, ann), "the files of methods can not be used")
}

// What a program outside was told in confidence reaches the journal on neither way.
func TestASensitiveParameterIsNotInTheJournal(t *testing.T) {
	b := outsideBox(t)
	configure(t, b, "log_level = \"debug\"\n")
	require.Contains(t, as(t, b, "ann", "password", "new=tell-nobody").Stderr, `"exit_status":3`)
	require.Contains(t, as(t, b, "ann", "password", "new=not-tell-nobody").Stderr, "-32602")
	b.Run(t, "journalctl", "--sync")
	said := b.Run(t, "journalctl", "--output=json")
	require.Contains(t, said, "not shown since the call has sensitive params")
	require.NotContains(t, said, "tell-nobody")
}

func TestAProgramOutsideIsGoneWithAllItsChildren(t *testing.T) {
	b := outsideBox(t)
	gone := func() bool { return !b.Running(t, "sleep 6543") }
	for name, test := range map[string]struct {
		method string
		end    func(c *client)
	}{
		"its timeout": {"lingers.briefly", func(c *client) { require.Contains(t, c.line(), `"reason":"request_timeout"`) }},
		"cancel": {"lingers", func(c *client) {
			c.send(`{"jsonrpc":"2.0","id":2,"method":"rpc.cancel","params":{"id":1}}`)
			require.Contains(t, c.line()+c.line(), `"reason":"cancelled"`)
		}},
		"the end of a stream's client": {"lingers.on", func(c *client) {
			require.Contains(t, c.line(), "begun")
			require.NoError(t, c.Close())
		}},
		"a crash of the daemon": {"lingers", func(c *client) {
			b.Systemctl(t, "kill", "--signal=KILL", serviceUnit)
			c.ends()
		}},
		"a stop of the daemon": {"lingers", func(c *client) {
			configure(t, b, "drain_timeout = \"100ms\"\n")
			b.Systemctl(t, "reload", serviceUnit)
			b.Systemctl(t, "stop", serviceUnit)
			require.Contains(t, c.line(), `"reason":"shutting_down"`)
			c.ends()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, b)
			c.send(`{"jsonrpc":"2.0","id":1,"method":"` + test.method + `"}`)
			box.Await(t, "it runs", func() bool { return !gone() })
			test.end(c)
			took := timed(func() { box.Await(t, "it is gone", gone) })
			t.Logf("gone after %s", took)
			require.Less(t, took.Seconds(), 1.5, "half a second for SIGTERM, and a look through the box")
		})
	}
}
