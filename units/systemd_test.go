package units

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// need returns the path of a program of systemd, or skips the test.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("needs %s: install the package systemd", program)
	}
	return path
}

// analyze runs systemd-analyze in folder, with a runtime directory and a home of
// its own: as root and for no user's manager that may be running.
func analyze(t *testing.T, folder string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	program := need(t, "systemd-analyze")
	runtime := t.TempDir()
	command := exec.Command(program, args...)
	command.Dir = folder
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + runtime,
		"XDG_RUNTIME_DIR=" + runtime, "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err = command.Run()
	return out.String(), errs.String(), err
}

// renderInto writes the units of scope for binary into a new folder and makes
// binary an executable file. It goes past Files, which refuses the folder of
// tests to the system's service.
func renderInto(t *testing.T, scope Scope, binary string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(binary), 0o755))
	require.NoError(t, os.WriteFile(binary, []byte("#!/bin/true\n"), 0o755))
	word, err := quoteExecutable(binary)
	require.NoError(t, err)
	folder := t.TempDir()
	for _, name := range unitsOf(scope) {
		content, err := embedded.ReadFile(scope.String() + "/" + name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), render(content, word), 0o644))
	}
	return folder
}

func unitsOf(scope Scope) []string {
	if scope == User {
		return []string{"marianned.socket", "marianned.service"}
	}
	return []string{"marianned.socket", "marianned.service", "marianned-exec.socket", "marianned-exec@.service"}
}

// verify asks systemd. It exits 0 on unknown keys, so only silence is consent.
func verify(t *testing.T, scope Scope, folder string) {
	t.Helper()
	arguments := []string{"--" + scope.String(), "verify"}
	for _, name := range unitsOf(scope) {
		arguments = append(arguments, "./"+name)
	}
	_, stderr, err := analyze(t, folder, arguments...)
	require.Empty(t, stderr)
	require.NoError(t, err)
}

func TestSystemdFindsNothingToSayAboutTheUnits(t *testing.T) {
	need(t, "systemd-analyze") // once for all cases
	for _, scope := range []Scope{System, User} {
		t.Run(scope.String(), func(t *testing.T) {
			verify(t, scope, renderInto(t, scope, filepath.Join(t.TempDir(), "marianned")))
		})
	}
}

// The executable exists under exactly one name, so systemd is silent only if it
// read that name back.
func TestSystemdReadsANastyPathBack(t *testing.T) {
	need(t, "systemd-analyze")
	for _, name := range []string{"a b", "100%h", "%%", "$HOME", "${HOME}", "a$$b%n", "a;b", "a ; b", "#c",
		"übung", "@-+!:", "-x", "~", "*?[a]", "a=b", "(a)&|<>"} {
		t.Run(name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "folder "+name, name)
			verify(t, System, renderInto(t, System, binary))
		})
	}
}

// 5 is an exposure of 0.5. What is left of it: a socket to talk through (0.1), a
// host's programs to run (0.1), the clock that systemd itself grants (0.1), and
// the two without which a peer is not known: ProtectProc= and PrivateUsers=.
func TestTheSystemsServiceIsExposedByHalfAPointAtMost(t *testing.T) {
	folder := renderInto(t, System, filepath.Join(t.TempDir(), "marianned"))
	stdout, stderr, err := analyze(t, folder, "security", "--offline=true", "--threshold=5", "./marianned.service")
	require.NoError(t, err, "%s%s", stdout, stderr)
	require.Contains(t, stdout, "Overall exposure level")
}

func TestSysusersMakesTheUserAndTheGroup(t *testing.T) {
	program := need(t, "systemd-sysusers")
	root := t.TempDir()
	_, _, err := install(System, root, false)
	require.NoError(t, err)
	out, err := exec.Command(program, "--root="+root, "--dry-run", "marianned.conf").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "Creating group 'marianned'")
	require.Contains(t, string(out), "Creating user 'marianned'")
}
