package box

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Path returns the path by which the host reaches a file or socket of the box.
// A link of the box with an absolute target leads out of it: name what it links
// to.
func (b *Box) Path(path string) string {
	return filepath.Join("/proc", strconv.Itoa(b.pid), "root", path)
}

// Command returns a command that runs in all namespaces of the box, as root and
// with a clean environment, until ctx ends.
func (b *Box) Command(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--all", "--target=" + strconv.Itoa(b.pid), "--",
		// The end of ctx kills nsenter alone, which has a child in the box.
		"setpriv", "--pdeathsig=KILL", "--"}
	command := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	command.Dir = "/"
	command.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "DEBIAN_FRONTEND=noninteractive"}
	// What it has started may hold its output open.
	command.WaitDelay = time.Second
	return command
}

// As returns the arguments that run args as a user of the box, with the groups of
// one who has logged in.
func As(user string, args ...string) []string {
	return append([]string{"setpriv", "--reuid=" + user, "--regid=" + user, "--init-groups", "--pdeathsig=KILL", "--"}, args...)
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int // of its exit
}

// Try runs a command in the box, as root.
func (b *Box) Try(t testing.TB, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	command := b.Command(ctx, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("run %q in the box: %v\n%s%s", args, err, stdout.String(), stderr.String())
	}
	return Result{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// Run runs a command in the box, as root, requires that it succeeds, and returns
// what it wrote to stdout.
func (b *Box) Run(t testing.TB, args ...string) string {
	t.Helper()
	result := b.Try(t, args...)
	if result.Code != 0 {
		t.Fatalf("%q in the box: exit code %d\n%s%s", args, result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout
}

// Await asks again and again until condition holds, on the goroutine of the test.
func Await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for start := time.Now(); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > Patience {
			t.Fatalf("waited %s in vain until %s", Patience, what)
		}
	}
}
