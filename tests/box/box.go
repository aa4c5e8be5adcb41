package box

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Patience is how long what must happen may take, on a machine that is busy
// with other tests. Nothing passes by waiting for it.
const Patience = time.Minute

// Box is a container with a systemd that has booted. Its methods may be called
// from several goroutines at once, but for Reboot; those that take a testing.TB may
// end the test, and are for its goroutine.
type Box struct {
	name  string // of the machine, of its cgroup, and of its folder in stateFolder
	lower string // the root that it is over
	lock  *os.File
	ready chan int // of capacity 1: the box has booted, and this is its PID 1
	pid   int      // of its PID 1, as the host sees it
	// ended is closed when systemd-nspawn has ended.
	ended chan struct{}
}

// shared is the box of this test binary. It is booted once, on demand.
var shared struct {
	sync.Mutex
	box  *Box
	err  error
	done bool
}

// Boot returns the box of this test binary; the first call boots it. It skips
// the test where no box can be had. Main must run the tests.
func Boot(t testing.TB) *Box {
	t.Helper()
	lower := defaultRoot()
	if missing := need(lower); missing != "" {
		t.Skip(missing)
	}
	shared.Lock()
	defer shared.Unlock()
	if !shared.done {
		shared.box, shared.err = boot(lower)
		shared.done = true
	}
	if shared.err != nil {
		t.Fatalf("boot a box: %v", shared.err)
	}
	return shared.box
}

// BootRoot boots a box for this test alone, over the folder root, which stays as it
// is: HostRoot, or one that DebianRoot has made. It skips the test where no box can be had.
func BootRoot(t testing.TB, root string) *Box {
	t.Helper()
	if missing := need(root); missing != "" {
		t.Skip(missing)
	}
	b, err := boot(root)
	if err != nil {
		t.Fatalf("boot a box over %s: %v", root, err)
	}
	t.Cleanup(func() {
		if err := b.remove(); err != nil {
			t.Errorf("remove the box: %v", err)
		}
	})
	return b
}

// Main runs the tests of a package, removes their box, and looks for goroutines
// that are left. It returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	removeBuilds()
	removeRoots()
	if shared.box != nil {
		if err := shared.box.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "remove the box:", err)
			return max(code, 1)
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}
