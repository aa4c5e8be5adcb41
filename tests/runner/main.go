package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	lint := flag.Bool("lint", false, "run the checks alone: gofmt, go vet, staticcheck")
	timeout := flag.Duration("timeout", 10*time.Minute,
		"for the tests of one package; past it go test prints every goroutine and fails")
	logs := flag.Bool("logs", false, "show also what tests that passed have logged: what they measured")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, *lint, *logs, *timeout, flag.Args()))
}

// run returns the exit code.
func run(ctx context.Context, lint, logs bool, timeout time.Duration, packages []string) int {
	if err := enterModule(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "runner:", err)
		return 1
	}
	machine := look()
	report := &report{out: os.Stdout, strict: machine.strict(), logs: logs}
	if !lint {
		setUp(ctx, machine, report)
	}
	if len(packages) == 0 {
		check(ctx, report)
		packages = []string{"./..."}
	}
	if !lint {
		test(ctx, report, timeout, packages)
	}
	return report.close()
}

// enterModule goes to the folder of go.mod, so that the runner does the same
// from wherever it is started.
func enterModule(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w: is Go installed?", err)
	}
	path := strings.TrimSpace(string(out))
	if filepath.Base(path) != "go.mod" {
		return fmt.Errorf("found no go.mod here or above; run it in the checkout")
	}
	return os.Chdir(filepath.Dir(path))
}

// test runs go test over packages. Vet has been run already.
func test(ctx context.Context, report *report, timeout time.Duration, packages []string) {
	args := []string{"test", "-json", "-count=1", "-vet=off", "-timeout=" + timeout.String()}
	if why := raceProblem(ctx); why == "" {
		args = append(args, "-race")
	} else {
		report.leaveOut("the race detector", why)
	}
	module, err := exec.CommandContext(ctx, "go", "list", "-m").Output()
	if err != nil {
		report.fail("go list -m", err.Error())
		return
	}
	tally := newTally(report, strings.TrimSpace(string(module)))

	command := exec.CommandContext(ctx, "go", append(args, packages...)...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		report.fail("go test", err.Error())
		return
	}
	if err := command.Start(); err != nil {
		report.fail("go test", err.Error())
		return
	}
	readErr := tally.read(stdout)
	tally.close(command.Wait(), readErr)
}

// raceProblem says why -race cannot be had, or "". Compiling runtime/cgo, which
// it rests on, tries the compiler and the headers at once.
func raceProblem(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "build", "-race", "runtime/cgo").CombinedOutput()
	if err == nil {
		return ""
	}
	return "needs gcc and libc6-dev: " + lastLine(string(out), err.Error())
}

// lastLine returns the last line of text that is not empty, else the fallback.
func lastLine(text, fallback string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return fallback
}
