package box

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builds are the programs that this test binary has built, by package.
var builds struct {
	sync.Mutex
	folder string
	errs   map[string]error
}

// Build builds the program in the package at path, static, once for this test
// binary, and returns the path of its binary on the host.
func Build(t testing.TB, path string) string {
	t.Helper()
	absolute, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	builds.Lock()
	defer builds.Unlock()
	if builds.folder == "" {
		if builds.folder, err = os.MkdirTemp("", "box"); err != nil {
			t.Fatal(err)
		}
		builds.errs = map[string]error{}
	}
	binary := filepath.Join(builds.folder, filepath.Base(absolute))
	if err, tried := builds.errs[binary]; tried {
		if err != nil {
			t.Fatal(err)
		}
		return binary
	}
	command := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
	command.Dir = absolute
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build %s: %w\n%s", path, err, out)
	}
	builds.errs[binary] = err
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func removeBuilds() {
	builds.Lock()
	defer builds.Unlock()
	if builds.folder != "" {
		_ = os.RemoveAll(builds.folder)
	}
}
