package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// check runs the checks of the code, each of which counts as one test.
func check(ctx context.Context, report *report) {
	run := func(what, program string, args ...string) {
		command := exec.CommandContext(ctx, program, args...)
		var stdout, stderr strings.Builder
		command.Stdout, command.Stderr = &stdout, &stderr
		err := command.Run()
		// gofmt exits 0 whatever it finds, and the go command tells of downloads on
		// stderr: so either an exit code or a word on stdout is a finding.
		if err == nil && stdout.Len() == 0 {
			report.pass()
			report.print("ok    "+what, "")
			return
		}
		text := stdout.String() + stderr.String()
		if err != nil {
			text += err.Error()
		}
		report.fail(what, text)
	}
	run("gofmt -l", "gofmt", "-l", ".")
	run("go vet", "go", "vet", "./...")

	staticcheck, why := buildStaticcheck(ctx)
	if why != "" {
		report.leaveOut("staticcheck", why)
		return
	}
	run("staticcheck", staticcheck, "./...")
}

// buildStaticcheck builds the version that tools/go.mod pins. Where it cannot be
// had (a machine without a network), the check is left out, not failed.
func buildStaticcheck(ctx context.Context) (path, why string) {
	path, err := filepath.Abs(filepath.Join("bin", "staticcheck"))
	if err != nil {
		return "", err.Error()
	}
	command := exec.CommandContext(ctx, "go", "-C", "tools", "build", "-buildvcs=false",
		"-o", path, "honnef.co/go/tools/cmd/staticcheck")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", "needs honnef.co/go/tools, as tools/go.mod pins it: " + lastLine(string(out), err.Error())
	}
	return path, ""
}
