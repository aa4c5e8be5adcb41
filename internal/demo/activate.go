package demo

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Activate sets LISTEN_PID to the pid of this process and replaces the process
// by argv, as a service manager does between fork and execve: only there is the
// pid of the daemon known before it runs. It returns only an error.
func Activate(argv []string) error {
	if len(argv) == 0 {
		return fmt.Errorf("activate: no program named, expected its path and arguments")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	env := append(os.Environ(), "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	if err := syscall.Exec(path, argv, env); err != nil {
		return fmt.Errorf("activate: execute %s: %w", path, err)
	}
	return nil
}
