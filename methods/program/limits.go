package program

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/internal/suggest"
	"github.com/marianned/marianned/methods/definition"
)

// prlimit is of util-linux. A limit must be there when the program begins, and
// only who is in its process already can see to that.
const prlimit = "/usr/bin/prlimit"

// resources are those of setrlimit(2) that a definition can bound, by the names
// that prlimit(1) has for them.
var resources = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "memlock": unix.RLIMIT_MEMLOCK, "nofile": unix.RLIMIT_NOFILE,
	"nproc": unix.RLIMIT_NPROC, "stack": unix.RLIMIT_STACK,
}

// readLimits makes the command that bounds the program and becomes it.
func (p *Program) readLimits(m *definition.Method, findings *definition.Findings) {
	names := slices.Sorted(maps.Keys(resources))
	for _, name := range slices.Sorted(maps.Keys(m.Limits)) {
		at, value := m.At("limits", name), m.Limits[name]
		resource, known := resources[name]
		if !known {
			hint := "expected one of: " + strings.Join(names, ", ")
			if meant := suggest.Nearest(name, names); meant != "" {
				hint = fmt.Sprintf("did you mean %q?", meant)
			}
			findings.Add(at, "limits has %q, which is no limit of a program; %s", name, hint)
			continue
		}
		if value < 0 {
			findings.Add(at, "limits.%s is %d, expected 0 or more", name, value)
			continue
		}
		// Nobody but root can go above what this process has itself, and so a
		// higher one is the same as none.
		most := uint64(value)
		var own unix.Rlimit
		if unix.Getrlimit(resource, &own) == nil {
			most = min(most, own.Max)
		}
		p.limits = append(p.limits, fmt.Sprintf("--%s=%d:%d", name, most, most))
	}
	if len(p.limits) == 0 {
		return
	}
	p.limits = slices.Insert(p.limits, 0, prlimit)
	if err := unix.Access(prlimit, unix.X_OK); err != nil {
		findings.Warn(m.At("limits"), "limits are set by %s, of util-linux: %v; calls fail until it is there", prlimit, err)
	}
}

// limited returns the arguments that bound the program first. It fails where the
// program could not be started then.
func (p *Program) limited(argv []string) ([]string, error) {
	if len(p.limits) == 0 {
		return argv, nil
	}
	if err := unix.Access(p.path, unix.X_OK); err != nil {
		return nil, &os.PathError{Op: "exec", Path: p.path, Err: err}
	}
	return slices.Concat(p.limits, argv), nil
}

// readNice takes the niceness of a program that runs outside.
func (p *Program) readNice(m *definition.Method, findings *definition.Findings) {
	switch {
	case m.Nice < -20 || m.Nice > 19:
		findings.Add(m.At("nice"), "nice is %d, expected a number from -20 to 19", m.Nice)
	case m.Nice != 0 && !m.Outside():
		findings.Add(m.At("nice"), "nice is set, but the sandbox of the daemon lets no program in it change its priority: "+
			"add user, or set Nice= in a drop-in of marianned.service for all of them")
	}
	p.nice = m.Nice
}

// withNice calls start on a thread whose children have the niceness of the
// program (setpriority(2): on Linux it is each thread's own).
func (p *Program) withNice(start func() error) error {
	if p.nice == 0 {
		return start()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, p.nice); err != nil {
			done <- os.NewSyscallError("setpriority", err)
			return
		}
		done <- start()
	}()
	return <-done
}
