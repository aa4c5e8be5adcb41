package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// need is something that tests use besides Go, and the Debian package it is in.
type need struct {
	program string // looked for in PATH, or a file if it has a slash
	debian  string
}

var needs = []need{
	{"socat", "socat"},
	{"systemd-analyze", "systemd"},
	{"systemd-socket-activate", "systemd"},
	{"systemd-sysusers", "systemd"},
	{"systemd-nspawn", "systemd-container"},
	{"dbus-daemon", "dbus"},                              // in a box, for logind
	{"/usr/share/pam-configs/systemd", "libpam-systemd"}, // in a box, for a user's service manager
	{"mmdebstrap", "mmdebstrap"},                         // clean roots, in which packages are tried
	{"lintian", "lintian"},
	{"rpm", "rpm"},
	{"dnf", "dnf"},
	{"rpmlint", "rpmlint"},
	{"shellcheck", "shellcheck"},
	{"gcc", "gcc"}, // the race detector is linked by it
	{"/usr/include/stdlib.h", "libc6-dev"},
}

// machine is what decides how much is asked of a run.
type machine struct {
	root, debian, ci bool
}

func look() machine {
	_, err := os.Stat("/etc/debian_version")
	return machine{root: os.Getuid() == 0, debian: err == nil, ci: os.Getenv("CI") == "true"}
}

// strict says whether everything can be installed here, and someone counts on it.
func (m machine) strict() bool { return m.root && m.debian && m.ci }

// setUp installs the packages that are missing, as root on Debian. Anywhere else
// it installs nothing: the tests themselves name what they miss.
func setUp(ctx context.Context, machine machine, report *report) {
	if !machine.root || !machine.debian {
		return
	}
	packages := missing(needs, present)
	if len(packages) == 0 {
		return
	}
	what := "apt-get install " + strings.Join(packages, " ")
	fmt.Fprintln(report.out, what)
	for _, args := range [][]string{
		{"-qq", "update"},
		append([]string{"-qq", "-y", "--no-install-recommends", "install"}, packages...),
	} {
		command := exec.CommandContext(ctx, "apt-get", args...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := command.CombinedOutput(); err != nil {
			report.print("apt-get "+strings.Join(args, " ")+": "+err.Error(), string(out))
			report.leaveOut(what, lastLine(string(out), err.Error()))
			return
		}
	}
}

// missing returns the packages of the needs that are not present, each once.
func missing(needs []need, present func(program string) bool) []string {
	var packages []string
	for _, need := range needs {
		if !present(need.program) && !slices.Contains(packages, need.debian) {
			packages = append(packages, need.debian)
		}
	}
	return packages
}

func present(program string) bool {
	if strings.Contains(program, "/") {
		_, err := os.Stat(program)
		return err == nil
	}
	_, err := exec.LookPath(program)
	return err == nil
}
