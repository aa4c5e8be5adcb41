package box

import (
	"os"
	"testing"
)

// Write writes a file in the box, mode 0644. Its folder must be there.
func (b *Box) Write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(b.Path(path), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Install puts a program of the host into the box, with mode 0755, in one step:
// it may replace one that runs.
func (b *Box) Install(t testing.TB, program, path string) {
	t.Helper()
	content, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(b.Path(path+".new"), content, 0o755)
	}
	if err == nil {
		err = os.Rename(b.Path(path+".new"), b.Path(path))
	}
	if err != nil {
		t.Fatal(err)
	}
}
