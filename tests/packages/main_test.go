package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

const (
	checkout = "../.."

	previous = "1.0.0"
	current  = "1.1.0"
	// epoch is the date of the commit that the packages say they are of.
	epoch = "1750000000"
)

func TestMain(m *testing.M) {
	code := box.Main(m)
	_ = os.RemoveAll(built.folder)
	os.Exit(code)
}

// built are the packages that this test binary has built.
var built struct {
	sync.Mutex
	folder string
	errs   map[string]error
}

// build runs `make packages`, once for each version, and returns the folder with
// the packages. arches and formats are those of the first call for a version.
func build(t *testing.T, version, arches, formats string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.folder == "" {
		folder, err := os.MkdirTemp("", "packages")
		require.NoError(t, err)
		// apt reads what it installs as a user of its own.
		require.NoError(t, os.Chmod(folder, 0o755))
		built.folder, built.errs = folder, map[string]error{}
	}
	folder := filepath.Join(built.folder, version)
	err, tried := built.errs[version]
	if !tried {
		err = makePackages(t, checkout, folder, "VERSION="+version, "ARCHES="+arches, "FORMATS="+formats)
		built.errs[version] = err
	}
	require.NoError(t, err)
	return folder
}

// makePackages runs `make packages` in a checkout.
func makePackages(t *testing.T, checkout, folder string, variables ...string) error {
	t.Helper()
	for _, program := range []string{"make", "git", "gzip", "awk"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: apt-get install %[1]s", program)
		}
	}
	args := append([]string{"packages", "DIST=" + folder, "COMMIT=0123456789abcdef0123456789abcdef01234567",
		"DATE=2025-06-15T15:06:40Z", "SOURCE_DATE_EPOCH=" + epoch}, variables...)
	command := exec.Command("make", args...)
	command.Dir = checkout
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("make %q: %w\n%s", args, err, out)
	}
	return nil
}

// all are the packages of the current version, of both architectures.
func all(t *testing.T) string { return build(t, current, "amd64 arm64", "deb rpm") }

// older are those of the version before, for this machine.
func older(t *testing.T) string { return build(t, previous, runtime.GOARCH, "deb rpm") }

// rpmArch names an architecture as rpm does.
var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// inFolder is where the packages of an architecture are.
func inFolder(folder, arch string) string {
	if arch == runtime.GOARCH {
		return folder
	}
	return filepath.Join(folder, arch)
}

func debOf(folder, version, arch string) string {
	return filepath.Join(inFolder(folder, arch), fmt.Sprintf("marianned_%s-1_%s.deb", version, arch))
}

func rpmOf(folder, version, arch string) string {
	return filepath.Join(inFolder(folder, arch), fmt.Sprintf("marianned-%s-1.%s.rpm", version, rpmArch[arch]))
}

// need skips the test where a program is missing.
func need(t *testing.T, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s: apt-get install %s", program, debian)
	}
}

// run runs a program of the host, requires that it succeeds, and returns what it
// wrote to stdout.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	command := exec.Command(program, args...)
	command.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := command.Output()
	var stderr []byte
	if exit, is := err.(*exec.ExitError); is {
		stderr = exit.Stderr
	}
	require.NoError(t, err, "%s %q: %s%s", program, args, out, stderr)
	return string(out)
}
