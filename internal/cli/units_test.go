package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/units"
)

func TestPrintedUnitsAreTheInstalledOnes(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	code, printed, stderr := run(t, "", "units", "print", "--user")
	require.Zero(t, code, stderr)

	code, report, stderr := run(t, "", "units", "install", "--user")
	require.Zero(t, code, stderr)
	for _, name := range []string{"marianned.socket", "marianned.service"} {
		path := filepath.Join(home, "systemd", "user", name)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, printed, "# "+path+"\n"+string(content))
		require.Contains(t, report, "written     "+path+"\n")
	}
	require.Contains(t, report, "\nRun next:\n  systemctl --user daemon-reload\n  systemctl --user enable --now marianned.socket\n")
	self, err := os.Executable()
	require.NoError(t, err)
	require.Contains(t, printed, "ExecStart="+self+" serve\n")
}

func TestAnInstalledUnitThatDiffersIsKept(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	code, _, stderr := run(t, "", "units", "install", "--user")
	require.Zero(t, code, stderr)
	path := filepath.Join(home, "systemd", "user", "marianned.service")
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))

	code, report, stderr := run(t, "", "units", "install", "--user")
	require.Equal(t, 73, code)
	require.Contains(t, report, "differs     "+path)
	require.Contains(t, stderr, "--force")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))

	code, report, stderr = run(t, "", "units", "install", "--user", "--force")
	require.Zero(t, code, stderr)
	require.Contains(t, report, "replaced    "+path)
	require.Contains(t, report, "try-restart")
}

func TestUnitsThatCannotBeInstalledSayWhy(t *testing.T) {
	t.Run("no home", func(t *testing.T) {
		t.Setenv("XDG_CONFIG_HOME", "")
		t.Setenv("HOME", "")
		code, _, stderr := run(t, "", "units", "install", "--user")
		require.Equal(t, 78, code, stderr)
		require.Contains(t, stderr, "set HOME or XDG_CONFIG_HOME")
	})
	t.Run("a file in the place of a folder", func(t *testing.T) {
		home := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(home, nil, 0o600))
		t.Setenv("XDG_CONFIG_HOME", home)
		code, _, stderr := run(t, "", "units", "install", "--user")
		require.Equal(t, 73, code, stderr)
		require.Contains(t, stderr, home)
	})
}

func TestTheSystemsUnitsCanBeReadFromAnywhere(t *testing.T) {
	// The program of this test is in a temporary folder, which the sandbox of
	// the system's service hides: install refuses it.
	code, stdout, _ := run(t, "", "units", "print")
	require.Zero(t, code)
	for _, path := range []string{"/etc/sysusers.d/marianned.conf", "/etc/systemd/system/marianned.socket", "/etc/systemd/system/marianned.service"} {
		require.Contains(t, stdout, "# "+path+"\n")
	}
}

func TestInstallingTheSystemsUnitsNamesTheGroup(t *testing.T) {
	root := t.TempDir()
	var out bytes.Buffer
	require.NoError(t, installUnits(&out, units.System, units.Params{}, units.Options{Root: root}))
	require.FileExists(t, filepath.Join(root, "etc/systemd/system/marianned.socket"))
	require.NotContains(t, out.String(), "Run next", "the commands are for the running system")
	require.Equal(t, 5, strings.Count(out.String(), "written"))
}
