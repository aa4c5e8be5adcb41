package box

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Show returns properties of a unit, as systemctl show has them.
func (b *Box) Show(t testing.TB, unit string, properties ...string) map[string]string {
	t.Helper()
	out := b.Run(t, "systemctl", "show", "--property="+strings.Join(properties, ","), "--", unit)
	values := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), "="); found {
			values[key] = value
		}
	}
	for _, property := range properties {
		if _, found := values[property]; !found {
			t.Fatalf("systemctl show %s: found no property %s", unit, property)
		}
	}
	return values
}

// Systemctl runs systemctl and requires that it succeeds.
func (b *Box) Systemctl(t testing.TB, args ...string) {
	t.Helper()
	b.Run(t, append([]string{"systemctl"}, args...)...)
}

// DropIn puts a drop-in over a unit of the system until the end of the test, and
// has the units read again. It is in force for what starts from then on.
func (b *Box) DropIn(t testing.TB, unit, content string) {
	t.Helper()
	folder := "/run/systemd/system/" + unit + ".d"
	if err := os.MkdirAll(b.Path(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.Path(folder))
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("%s/%d.conf", folder, 10+len(entries)) // the later one wins
	b.Write(t, path, content)
	b.Systemctl(t, "daemon-reload")
	t.Cleanup(func() {
		if err := os.Remove(b.Path(path)); err != nil {
			t.Error(err)
		}
		b.Systemctl(t, "daemon-reload")
	})
}
