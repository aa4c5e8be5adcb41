package box

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// rootPackages make a minimal Debian one that boots, with logins and apt.
const rootPackages = "systemd,systemd-sysv,dbus,libpam-systemd,init-system-helpers,passwd"

// roots are the clean roots that this test binary has made, by release.
var roots struct {
	sync.Mutex
	folder string
	made   map[string]func() (path string, err error)
}

// DebianRoot makes a clean root of a release of Debian, once for this test
// binary, and returns its path, for BootRoot: what a machine has that was just
// installed. It takes the mirror of the host's apt, and skips the test where there
// is none. Several may be made at once.
func DebianRoot(t testing.TB, release string) string {
	t.Helper()
	for _, program := range []string{"mmdebstrap", "apt-get"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s, on Debian: apt-get install mmdebstrap", program)
		}
	}
	if missing := need(release); missing != "" {
		t.Skip(missing)
	}
	path, err := rootOf(release)()
	if errors.Is(err, errNoMirror) {
		t.Skipf("needs a mirror that has Debian's %s: %v", release, err)
	}
	if err != nil {
		t.Fatalf("make a root of %s: %v", release, err)
	}
	return path
}

// rootOf returns what makes the root, or waits for it, or knows it.
func rootOf(release string) func() (string, error) {
	roots.Lock()
	defer roots.Unlock()
	if roots.made == nil {
		roots.made = map[string]func() (string, error){}
	}
	if roots.made[release] == nil {
		roots.made[release] = sync.OnceValues(func() (string, error) { return makeRoot(release) })
	}
	return roots.made[release]
}

// errNoMirror is matched by the error of a release that can not be fetched.
var errNoMirror = errors.New("it cannot be fetched")

func makeRoot(release string) (string, error) {
	folder, err := rootsFolder()
	if err != nil {
		return "", err
	}
	mirror, err := aptMirror()
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("/usr/lib/apt/apt-helper", "download-file",
		mirror+"/dists/"+release+"/InRelease", filepath.Join(folder, release+".InRelease")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w from %s: %s", errNoMirror, mirror, bytes.TrimSpace(out))
	}
	path := filepath.Join(folder, release)
	command := exec.Command("mmdebstrap", "--quiet", "--variant=minbase", "--include="+rootPackages,
		"--dpkgopt=force-unsafe-io", // it need not be safe from a loss of power
		release, path, mirror)
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mmdebstrap %s: %w\n%s", release, err, out)
	}
	return path, nil
}

// aptMirror returns where apt has its Debian from.
func aptMirror() (string, error) {
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Created-By: Packages", "Origin: Debian", "Label: Debian").Output()
	mirror, _, _ := strings.Cut(string(out), "\n")
	if err != nil || mirror == "" {
		return "", fmt.Errorf("%w: apt knows no mirror of Debian; apt-get update", errNoMirror)
	}
	return strings.TrimSuffix(mirror, "/"), nil
}

func rootsFolder() (string, error) {
	roots.Lock()
	defer roots.Unlock()
	if roots.folder != "" {
		return roots.folder, nil
	}
	folder, err := os.MkdirTemp("", "box-roots")
	roots.folder = folder
	return folder, err
}

func removeRoots() {
	roots.Lock()
	defer roots.Unlock()
	if roots.folder != "" {
		_ = os.RemoveAll(roots.folder)
	}
}
