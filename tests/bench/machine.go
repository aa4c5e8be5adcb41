package main

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/tests/bench/servers"
)

// machine is where and with what was measured.
type machine struct {
	Processor string            `json:"processor"`
	Cores     int               `json:"cores"`
	Kernel    string            `json:"kernel"`
	Go        string            `json:"go"`
	Modules   map[string]string `json:"modules"` // versions of the peers, by path
}

func thisMachine() machine {
	m := machine{Processor: processor(), Cores: runtime.NumCPU(), Go: runtime.Version(), Modules: map[string]string{}}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return m
	}
	for _, dep := range info.Deps {
		for _, s := range servers.All() {
			if s.Peer && s.Module == dep.Path {
				m.Modules[dep.Path] = dep.Version
			}
		}
	}
	return m
}

// processor is the name that the kernel has for the first one; "" if none.
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
