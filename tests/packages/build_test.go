package packages

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hashes of the files below a folder, by name.
func hashes(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		found[strings.TrimPrefix(path, folder)] = hex.EncodeToString(sum[:])
		return err
	}))
	return found
}

// In another folder, under another name, by a checkout with other modes and times.
func TestTwoBuildsAreTheSameBytes(t *testing.T) {
	t.Parallel()
	first := hashes(t, all(t))
	require.Len(t, first, 4)

	elsewhere := filepath.Join(t.TempDir(), "another place")
	copyCheckout(t, elsewhere)
	second := filepath.Join(t.TempDir(), "dist")
	require.NoError(t, makePackages(t, elsewhere, second, "VERSION="+current))
	require.Equal(t, first, hashes(t, second))
}

// copyCheckout copies what git knows of the checkout, changed or new, without its
// history.
func copyCheckout(t *testing.T, folder string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = checkout
	files, err := list.Output()
	if err != nil {
		t.Skipf("needs a checkout with its history: git ls-files: %v", err)
	}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(files, []byte{0}), []byte{0}) {
		path := filepath.Join(checkout, string(name))
		info, err := os.Stat(path)
		if os.IsNotExist(err) {
			continue // removed, and git not told yet
		}
		require.NoError(t, err)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		target := filepath.Join(folder, string(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o700))
		require.NoError(t, os.WriteFile(target, content, info.Mode()&^0o077))
	}
}

func TestAVersionIsOneThatDpkgAndRpmCompareAsGitDoes(t *testing.T) {
	// In the order of their coming.
	var versions []string
	for _, version := range []string{"", "85d7bf8", "85d7bf8-dirty", "v0.1.0-rc.1", "0.1.0-rc.1-2-g85d7bf8", "0.1.0",
		"0.1.0-1-g85d7bf8", "0.1.0-9-g85d7bf8-dirty", "0.1.0-10-g85d7bf8", "0.2.0"} {
		versions = append(versions, packageVersion(t, strings.TrimPrefix(version, "v")))
	}
	require.Regexp(t, `^0\.0\.0\+\d+$`, versions[0])
	require.Regexp(t, `^0\.0\.0\+\d+\.g85d7bf8$`, versions[1])
	require.Equal(t, versions[1]+".dirty", versions[2])
	require.Equal(t, []string{"0.1.0~rc.1", "0.1.0~rc.1+2.g85d7bf8", "0.1.0", "0.1.0+1.g85d7bf8",
		"0.1.0+9.g85d7bf8.dirty", "0.1.0+10.g85d7bf8", "0.2.0"}, versions[3:])
	need(t, "dpkg", "dpkg")
	for i := range len(versions) - 1 {
		run(t, "dpkg", "--compare-versions", versions[i], "lt", versions[i+1])
	}
}

func packageVersion(t *testing.T, version string) string {
	t.Helper()
	command := exec.Command("packaging/version")
	command.Dir = checkout
	command.Env = append(os.Environ(), "VERSION="+version)
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// What is enabled, is stopped, purged and compared too.
func TestTheScriptsKnowEverySocketOfTheSystem(t *testing.T) {
	sockets, err := filepath.Glob(checkout + "/units/system/*.socket")
	require.NoError(t, err)
	require.NotEmpty(t, sockets)
	var all, wanted []string
	for _, socket := range sockets {
		text, err := os.ReadFile(socket)
		require.NoError(t, err)
		all = append(all, filepath.Base(socket))
		if strings.Contains(string(text), "\n[Install]\n") {
			wanted = append(wanted, filepath.Base(socket))
		}
	}
	scripts, err := filepath.Glob(checkout + "/packaging/*/p*") // preinst, post, ...
	require.NoError(t, err)
	require.Len(t, scripts, 8)
	list := regexp.MustCompile(`(?m)^(sockets|wanted)="(.*)"$`)
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		require.NoError(t, err)
		lists := list.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, lists, script)
		for _, l := range lists {
			names := map[string][]string{"sockets": all, "wanted": wanted}[l[1]]
			require.Equal(t, strings.Join(names, " "), l[2], "%s: %s", script, l[1])
		}
	}
}

func TestTheScriptsAreOnesThatAShellReads(t *testing.T) {
	scripts, err := filepath.Glob(checkout + "/packaging/*/p*") // preinst, post, ...
	require.NoError(t, err)
	require.Len(t, scripts, 8)
	for _, script := range append(scripts, checkout+"/packaging/build", checkout+"/packaging/version") {
		run(t, "sh", "-n", script)
	}
	need(t, "shellcheck", "shellcheck")
	// Lists are meant to be split.
	run(t, "shellcheck", append([]string{"--shell=dash", "--exclude=SC2086"}, scripts...)...)
	run(t, "shellcheck", checkout+"/packaging/build", checkout+"/packaging/version")
}
