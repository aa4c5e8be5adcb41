package cli

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

const explained = `[methods.open]
exec = ["/bin/true"]
allow = ["uid:4000000", "unit:backup.service"]
deny = ["user:root"]
[methods.admin]
exec = ["/bin/true"]
allow = ["everyone"]
sockets = ["admin"]
hidden = false
[policy."daemon.config"]
allow = ["uid:4000000"]
`

func TestExplainNamesTheLineThatDecides(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "m.toml")
	require.NoError(t, os.WriteFile(file, []byte(explained), 0o600))
	self := strconv.Itoa(os.Getpid())
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--uid", "4000000", "open"}, 0, "uid 4000000, of whom no groups are known may call open\n" + file + ":3:10: allow has \"uid:4000000\"\n"},
		{[]string{"--user", "root", "open"}, 77, "root (uid 0) may not call, and does not see, open\n" + file + ":4:9: deny has \"user:root\"\n"},
		{[]string{"--uid", "4000001", "open"}, 77, file + ":3:1: no item of allow fits the caller\n"},
		{[]string{"--uid", "4000001", "--unit", "backup.service", "open"}, 0, " in backup.service may call open\n" + file + ":3:25: allow has \"unit:backup.service\"\n"},
		{[]string{"--uid", "4000001", "admin"}, 77, " may not call admin\n" + file + ":8:1: sockets does not have \"rpc\""},
		{[]string{"--uid", "4000001", "--admin", "admin"}, 0, " through the socket admin may call admin\n" + file + ":7:10: allow has \"everyone\"\n"},
		{[]string{"--uid", "4000000", "daemon.config"}, 0, file + ":11:10: allow has \"uid:4000000\"\n"},
		{[]string{"--uid", "4000000", "daemon.reload"}, 77, "\nno file says otherwise: it is for root and the daemon's own user\n"},
		{[]string{"--uid", "4000000", "daemon.status"}, 0, "\nno file says otherwise: it is open to the caller by default\n"},
		{[]string{"--pid", self, "daemon.status"}, 0, "uid " + strconv.Itoa(os.Geteuid()) + " of pid " + self},
		{[]string{"daemon.status"}, 0, " of pid " + self},
	} {
		code, stdout, stderr := run(t, "", append([]string{"explain", "--methods", folder}, test.args...)...)
		require.Equal(t, test.code, code, "%q: %s", test.args, stderr)
		require.Contains(t, stdout, test.want)
		require.Empty(t, stderr)
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"opne"}, 1, `no file defines a method "opne"; did you mean "open"?`},
		{[]string{"--uid", "1", "--user", "root", "open"}, 64, "several of --uid, --user and --pid"},
		{[]string{"--user", "no such user", "open"}, 64, `--user is "no such user"`},
		{[]string{"--pid", "1073741824", "open"}, 64, "expected a process that runs"},
	} {
		code, stdout, stderr := run(t, "", append([]string{"explain", "--methods", folder}, test.args...)...)
		require.Equal(t, test.code, code, stderr)
		require.Empty(t, stdout)
		require.Contains(t, stderr, test.want)
	}
	require.NoError(t, os.WriteFile(file, []byte("[methods.x]\nexc = []\n"), 0o600))
	code, _, stderr := run(t, "", "explain", "--methods", folder, "x")
	require.Equal(t, 78, code)
	require.Contains(t, stderr, file+":2:1: ")
}

func TestAUserIsExplainedWithTheirGroups(t *testing.T) {
	me, err := user.Current()
	require.NoError(t, err)
	group, err := user.LookupGroupId(me.Gid)
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "m.toml"),
		[]byte("[methods.x]\nexec = [\"/bin/true\"]\nallow = [\"group:"+group.Name+"\"]\n"), 0o600))
	code, stdout, stderr := run(t, "", "explain", "--methods", folder, "--user", me.Username, "x")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "allow has \"group:"+group.Name+"\"")
}
