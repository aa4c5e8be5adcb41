package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/config"
)

// userConfig makes the files of a user's own configuration, by their names below
// $XDG_CONFIG_HOME/marianned, and returns that folder.
func userConfig(t *testing.T, files map[string]string) string {
	t.Helper()
	home, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	t.Setenv(config.SocketVariable, "")
	dir := filepath.Join(home, "marianned")
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	if _, err := conffile.Trusted().Read(filepath.Join(dir, "marianned.toml")); err != nil {
		t.Skipf("needs a folder for temporary files that only root and this user can write to: %v", err)
	}
	return dir
}

// runMain runs a command line.
func runMain(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = Main(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestTheConfigurationIsShownWithItsOrigins(t *testing.T) {
	dir := userConfig(t, map[string]string{"marianned.toml": "max_batch = 5\n", "conf.d/a.toml": "max_streams = 6\n"})
	t.Setenv("MARIANNED_LOG_LEVEL", "debug")
	t.Setenv("MARIANNED_MAX_BACH", "5")
	code, stdout, stderr := runMain("config", "show", "--user", "--origin")
	require.Equal(t, 0, code, stderr)
	require.Equal(t, "warning: $MARIANNED_MAX_BACH is no setting; did you mean $MARIANNED_MAX_BATCH?\n", stderr)
	require.Regexp(t, `(?m)^socket = "/run/user/1000/marianned/marianned.sock" +# default$`, stdout)
	require.Regexp(t, `(?m)^max_batch = 5 +# `+dir+`/marianned.toml:1:1$`, stdout)
	require.Regexp(t, `(?m)^max_streams = 6 +# `+dir+`/conf.d/a.toml:1:1$`, stdout)
	require.Regexp(t, `(?m)^log_level = "debug" +# \$MARIANNED_LOG_LEVEL$`, stdout)

	path := filepath.Join(t.TempDir(), "again.toml")
	require.NoError(t, os.WriteFile(path, []byte(stdout), 0o644))
	_, plain, _ := runMain("config", "show", "--config", path)
	require.NotContains(t, plain, "#")
	require.Contains(t, plain, "max_streams = 6\n")

	_, stdout, _ = runMain("config", "show", "--user", "--json")
	var list []struct {
		Name, Origin string
		Value        any
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	require.Len(t, list, len(config.Settings))
	for _, s := range list {
		if s.Name == "max_batch" {
			require.Equal(t, 5.0, s.Value)
			require.Equal(t, dir+"/marianned.toml:1:1", s.Origin)
		}
	}
}

func TestMistakesInTheConfigurationHaveALineEach(t *testing.T) {
	dir := userConfig(t, map[string]string{
		"marianned.toml":      "max_bach = 5\nlog_level = \"loud\"\n",
		"methods.d/disk.toml": "[methods.\"disk.usage\"]\nexec = [\"/usr/bin/df\"]\nalow = [\"root\"]\n",
	})
	config := dir + "/marianned.toml:1:1: unknown key \"max_bach\"; did you mean \"max_batch\"?\n" +
		dir + "/marianned.toml:2:1: log_level is \"loud\", expected one of: error, warning, info, debug\n"
	methods := dir + "/methods.d/disk.toml:3:1: unknown key \"alow\" in [methods.\"disk.usage\"]; did you mean \"allow\"?\n"
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"check", "--user"}, config + methods},
		{[]string{"config", "show", "--user"}, config},
		{[]string{"check", dir + "/marianned.toml"}, config},
		{[]string{"check", dir + "/methods.d/disk.toml"}, methods},
		{[]string{"check", dir + "/methods.d/disk.toml", dir + "/marianned.toml"}, config + methods},
	} {
		code, stdout, stderr := runMain(test.args...)
		require.Equal(t, 78, code, test.args)
		require.Empty(t, stdout)
		require.Equal(t, test.want, stderr, test.args)
	}
}

func TestWhatIsRightIsCounted(t *testing.T) {
	dir := userConfig(t, map[string]string{
		"marianned.toml":    "max_batch = 5\n",
		"conf.d/a.toml":     "",
		"methods.d/id.toml": "[methods.\"id\"]\nexec = [\"/usr/bin/id\"]\n",
	})
	code, stdout, stderr := runMain("check", "--user")
	require.Equal(t, 0, code, stderr)
	require.Equal(t, "no mistakes; files read: 3\n", stdout)
	_, stdout, _ = runMain("check", dir+"/conf.d/a.toml")
	require.Equal(t, "no mistakes; files read: 1\n", stdout)
}

func TestAFileIsKnownByItsFolderOrItsContents(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		text    string
		methods bool
	}{
		"methods.d/a.toml": {"", true},
		"conf.d/a.toml":    {"[methods.a]\n", false},
		"settings.toml":    {"max_batch = 1\n", false},
		"methods.toml":     {"[methods.a]\nexec = [\"/bin/a\"]\n", true},
		"policy.toml":      {"[policy.\"daemon.status\"]\nallow = [\"root\"]\n", true},
		"workers.toml":     {"[workers.a]\n", true},
		"broken.toml":      {"[methods.a]\nexec = [\n", true},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(test.text), 0o644))
		require.Equal(t, test.methods, isMethodsFile(path), name)
	}
	t.Chdir(filepath.Join(dir, "methods.d"))
	require.True(t, isMethodsFile("a.toml"))
	require.False(t, isMethodsFile("missing/a.toml"))
}

func TestASystemAndAUserAreNotMeantAtOnce(t *testing.T) {
	for _, command := range [][]string{{"check"}, {"config", "show"}} {
		code, _, stderr := runMain(append(command, "--user", "--system")...)
		require.Equal(t, 64, code)
		require.Contains(t, stderr, "--user and --system are given, expected one of them")
	}
}

func TestTheSystemsDaemonTrustsRoot(t *testing.T) {
	require.Contains(t, trustOf(config.SystemInstance).Owners, uint32(0))
	require.NotContains(t, trustOf(config.SystemInstance).Owners, uint32(12345))
	require.Equal(t, conffile.Trusted(), trustOf(config.UserInstance))
}

func TestAFileThatTheDaemonMayNotReadIsAWarning(t *testing.T) {
	other := "nobody"
	if account, found := daemonAccount(other); !found {
		t.Skip("needs the user nobody, base-passwd")
	} else if int(account.uid) == os.Geteuid() {
		other = "daemon"
	}
	path := filepath.Join(t.TempDir(), "a.toml")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	var check checker
	check.readable([]string{path}, other)
	require.Len(t, check.findings, 1)
	require.True(t, check.findings[0].Warning)
	require.Contains(t, check.findings[0].String(), path+": warning: the daemon's user, "+other+", may not read it: ")
	check.readable([]string{path}, "no such user")
	require.Len(t, check.findings, 1, "nobody knows who it is")
}
