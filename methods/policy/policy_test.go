package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

// people are the users and groups that a test's host has.
type people map[string]uint32

func (p people) User(name string) (uint32, error) {
	if uid, found := p["user:"+name]; found {
		return uid, nil
	}
	return 0, fmt.Errorf("there is no user %q", name)
}

func (p people) Group(name string) (uint32, error) {
	if gid, found := p["group:"+name]; found {
		return gid, nil
	}
	return 0, fmt.Errorf("there is no group %q", name)
}

var host = people{"user:ann": 1000, "user:eve": 1001, "group:adm": 4, "group:staff": 50}

// owner is the user of the daemon whose rules are read.
const owner = 990

// read makes the policy of a method, with what is found about it.
func read(t testing.TB, text string) (*Policy, definition.Findings) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.toml")
	require.NoError(t, os.WriteFile(path, []byte("[methods.m]\nexec = [\"/bin/true\"]\n"+text), 0o600))
	defs, findings := definition.ReadFiles([]string{path}, definition.Options{})
	require.NoError(t, findings.Err())
	p := New(defs.Methods[0].Rules, defs.Methods[0].Place, host, owner, &findings)
	return p, findings
}

func TestRulesFitWhomTheyName(t *testing.T) {
	peers := map[string]*rpc.Peer{
		"root":        {UID: 0},
		"ann":         {UID: 1000, GID: 1000},
		"eve in adm":  {UID: 1001, GID: 1001, Groups: []uint32{4, 27}},
		"staff":       {UID: 1999, GID: 50},
		"2000":        {UID: 2000, GID: 2000},
		"backup":      {UID: 34, GID: 34, Unit: "backup@home.service"},
		"other's own": {UID: 77777, GID: 9, UserUnit: "app.service", Unit: "user@77777.service"},
	}
	for rule, fits := range map[string][]string{
		"uid:1000":                 {"ann"},
		"uid:1000-1999":            {"ann", "eve in adm", "staff"},
		"uid:0":                    {"root"},
		"user:ann":                 {"ann"},
		"gid:50":                   {"staff"},
		"gid:20-30":                {"eve in adm"},
		"group:adm":                {"eve in adm"},
		"group:staff":              {"staff"},
		"unit:backup@home.service": {"backup"},
		"unit:backup@*.service":    {"backup"},
		"unit:*@h*e.service":       {"backup"},
		"unit:backup.service":      nil,
		"unit:user@*.service":      {"other's own"},
		"user-unit:*.service":      nil,
		"everyone":                 {"root", "ann", "eve in adm", "staff", "2000", "backup", "other's own"},
		"uid:4294967294":           nil,
	} {
		t.Run(rule, func(t *testing.T) {
			p, findings := read(t, fmt.Sprintf("allow = [%q]", rule))
			require.NoError(t, findings.Err())
			var allowed []string
			for name, peer := range peers {
				if p.Decide(peer).Allowed {
					allowed = append(allowed, name)
				}
			}
			require.ElementsMatch(t, fits, allowed)
		})
	}
}

// Anybody names the units of a service manager of their own.
func TestUnitsOfUsersAreThoseOfTheDaemonsOwnUser(t *testing.T) {
	p, findings := read(t, `allow = ["user-unit:app*.service"]`)
	require.NoError(t, findings.Err())
	require.True(t, p.Decide(&rpc.Peer{UID: owner, UserUnit: "app-1.service"}).Allowed)
	require.False(t, p.Decide(&rpc.Peer{UID: uint32(os.Geteuid()), UserUnit: "app-1.service"}).Allowed, "who reads the rules need not be the daemon")
}

func TestDenyWinsAndTheLineIsNamed(t *testing.T) {
	ann, root := &rpc.Peer{UID: 1000}, &rpc.Peer{UID: 0}
	for _, test := range []struct {
		text    string
		peer    *rpc.Peer
		allowed bool
		line    int
		column  int
		why     string
	}{
		{"", root, true, 1, 10, "there is no allow, so that root alone may call"},
		{"", ann, false, 1, 10, "there is no allow, so that root alone may call"},
		{`allow = ["everyone"]`, ann, true, 3, 10, `allow has "everyone"`},
		{`allow = ["uid:7", "user:ann"]`, ann, true, 3, 19, `allow has "user:ann"`},
		{`allow = ["user:ann"]`, root, false, 3, 1, "no item of allow fits the caller"},
		{`allow = []`, root, false, 3, 1, "no item of allow fits the caller"},
		{"allow = [\"everyone\"]\ndeny = [\"user:eve\", \"uid:1000\"]", ann, false, 4, 21, `deny has "uid:1000"`},
		{`deny = ["everyone"]`, root, false, 3, 9, `deny has "everyone"`},
		{"allow = [\"everyone\"]\nsockets = [\"admin\"]", root, false, 4, 1, `sockets does not have "rpc", through which the caller came`},
	} {
		p, findings := read(t, test.text)
		require.NoError(t, findings.Err())
		d := p.Decide(test.peer)
		require.Equal(t, test.allowed, d.Allowed, test.text)
		require.Equal(t, [2]int{test.line, test.column}, [2]int{d.At.Line, d.At.Column}, test.text)
		require.Equal(t, test.why, d.Why)
	}
}

func TestARuleThatIsNoneIsAMistake(t *testing.T) {
	for rule, want := range map[string]string{
		"ann":             "expected KIND:VALUE",
		"user:":           "expected KIND:VALUE",
		"usr:ann":         `did you mean "user"?`,
		"pid:1":           "unknown kind \"pid\"",
		"uid:ann":         "expected a number",
		"uid:-1":          "expected a number",
		"uid:4294967295":  "expected a number",
		"uid:5-3":         "the range ends before it begins",
		"unit:backup":     "ends in .service or .scope",
		"unit:x.service*": "ends in .service or .scope",
		"unit:a?.service": "there is \"*\" alone",
		"unit:/x.service": "there is \"*\" alone",
		"EVERYONE":        "expected KIND:VALUE",
	} {
		_, findings := read(t, fmt.Sprintf("deny = [%q]", rule))
		require.ErrorContains(t, findings.Err(), want, rule)
	}
}

// A name may be created after the daemon was started.
func TestANameThatIsNotKnownLetsNobodyIn(t *testing.T) {
	stranger := &rpc.Peer{UID: 4711}
	p, findings := read(t, `allow = ["user:zoe"]`)
	require.NoError(t, findings.Err())
	require.Len(t, findings, 1)
	require.Contains(t, findings[0].String(), `it fits nobody until the next reload`)
	require.False(t, p.Decide(stranger).Allowed)

	p, findings = read(t, "allow = [\"everyone\"]\ndeny = [\"group:zoes\"]")
	require.NoError(t, findings.Err())
	require.Contains(t, findings[0].String(), `it fits everybody until the next reload`)
	require.False(t, p.Decide(stranger).Allowed)
}

// Whatever else the rules are, these hold.
func TestWhoIsDeniedIsNeverAllowed(t *testing.T) {
	rule := rapid.SampledFrom([]string{"uid:1000", "uid:1000-1999", "gid:4", "user:ann", "user:zoe", "group:adm", "group:zoes",
		"unit:a.service", "unit:*.service", "user-unit:a.service", "everyone"})
	rapid.Check(t, func(rt *rapid.T) {
		peer := &rpc.Peer{
			UID: rapid.SampledFrom([]uint32{0, 1000, 1001, 1999, 2000}).Draw(rt, "uid"), GID: rapid.SampledFrom([]uint32{0, 4, 50}).Draw(rt, "gid"),
			Unit: rapid.SampledFrom([]string{"", "a.service", "b.service"}).Draw(rt, "unit"),
		}
		peer.UnitUnknown = peer.Unit == "" && rapid.Bool().Draw(rt, "unknown")
		allow, deny := rapid.SliceOfN(rule, 0, 4).Draw(rt, "allow"), rapid.SliceOfN(rule, 0, 4).Draw(rt, "deny")
		with := func(allow, deny []string) bool {
			p, findings := read(t, fmt.Sprintf("allow = %s\ndeny = %s", toml(allow), toml(deny)))
			require.NoError(rt, findings.Err())
			return p.Decide(peer).Allowed
		}
		require.False(rt, with(append(allow, "everyone"), append(deny, "everyone")))
		if with(allow, deny) {
			require.True(rt, with(append(allow, "uid:77"), deny), "more allow takes nothing")
			require.True(rt, with(allow, nil), "deny gives nothing")
			require.NotEmpty(rt, allow)
		}
	})
}

func toml(texts []string) string {
	text := "["
	for _, t := range texts {
		text += fmt.Sprintf("%q,", t)
	}
	return text + "]"
}
