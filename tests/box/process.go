package box

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Running reports whether a process of the box has text in its command line, whose
// arguments a space joins. It needs no program of the box: a root that was just
// installed has no pgrep.
func (b *Box) Running(t testing.TB, text string) bool {
	t.Helper()
	paths, err := filepath.Glob(b.Path("/proc") + "/[0-9]*/cmdline")
	if err != nil || len(paths) == 0 { // its PID 1 is there
		t.Fatalf("list the processes of the box: found %d: %v", len(paths), err)
	}
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ReplaceAll(string(line), "\x00", " "), text) {
			return true
		}
	}
	return false
}
