package peerunit

import (
	"fmt"
	"strings"
)

// units are a process's own, "" for none.
type units struct{ system, user string }

// parseCgroup reads a /proc/PID/cgroup, cgroups(7): the unified hierarchy or,
// where the service manager does not use that and all are at its root, the one
// that it has beside the others.
func parseCgroup(text string) (units, error) {
	unified, named := "", ""
	for line := range strings.Lines(text) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, place, ok := strings.Cut(rest, ":")
		if !ok {
			return units{}, fmt.Errorf("the line %q, expected ID:CONTROLLERS:PATH", line)
		}
		switch {
		case controllers == "name=systemd":
			named = place
		case id == "0":
			unified = place
		}
	}
	switch {
	case unified == "" && named == "":
		return units{}, fmt.Errorf("no cgroup of the service manager in %q", text)
	case named != "" && (unified == "" || unified == "/"):
		return unitsOf(named)
	}
	return unitsOf(unified)
}

// unitsOf finds the names in a path: below slices stands a unit of the system;
// below slices in a user's service manager one of the user. What is deeper is
// the unit's own affair, whatever it is called.
func unitsOf(path string) (u units, err error) {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/..") {
		return u, fmt.Errorf("the cgroup %q is outside of what this process sees", path)
	}
	var rest []string
	u.system, rest = firstUnit(strings.Split(path[1:], "/"))
	if strings.HasPrefix(u.system, "user@") {
		u.user, _ = firstUnit(rest)
	}
	return u, nil
}

// firstUnit returns the unit below slices, and what is below that.
func firstUnit(parts []string) (unit string, below []string) {
	for i, part := range parts {
		part = strings.TrimPrefix(part, "_") // which keeps a unit's name apart from the kernel's files
		switch {
		case strings.HasSuffix(part, ".slice"):
		case strings.HasSuffix(part, ".service"), strings.HasSuffix(part, ".scope"):
			return part, parts[i+1:]
		default:
			return "", nil
		}
	}
	return "", nil
}
