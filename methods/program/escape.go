package program

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxHunts bounds the looks through /proc: what forks faster than it is found
// has not left its group by accident.
const maxHunts = 20

// killEscaped ends the processes that a call has started and that have left its
// group. They are known by the request in their environment, proc(5), which they
// have from their parents. It takes some milliseconds, and finds only what runs
// as our own user and has not changed its environment.
func killEscaped(requestID string) {
	mark := []byte("\x00" + requestVariable + requestID + "\x00")
	for range maxHunts {
		if !killMarked(mark) {
			return
		}
	}
}

// killMarked reports whether it found any.
func killMarked(mark []byte) (found bool) {
	proc, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1) // what it could not read it has not found
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && isMarked(name, mark) && killIfMarked(pid, name, mark) {
			found = true
		}
	}
	return found
}

// isMarked looks at the environment of a process. One that is just about to run
// another program has none for a moment, and is looked at again.
func isMarked(name string, mark []byte) bool {
	for range maxLooks {
		environment, err := os.ReadFile("/proc/" + name + "/environ")
		if err != nil {
			return false
		}
		if len(environment) > 0 {
			return bytes.Contains(append([]byte{0}, environment...), mark)
		}
		if isBare(name) {
			return false
		}
		time.Sleep(betweenLooks)
	}
	return false
}

// How often, and how long, execve(2) is given the time to be done with a process.
const (
	maxLooks     = 1000
	betweenLooks = 100 * time.Microsecond
)

// The fields of /proc/PID/stat behind the name, from 0 on; proc_pid_stat(5).
const (
	statMemory         = 20 // vsize
	statEnvironment    = 47 // env_start
	statEnvironmentEnd = 48 // env_end
)

// isBare reports whether a process has no environment for good: it has an empty
// one, or no memory at all, as zombies and threads of the kernel.
func isBare(name string) bool {
	stat, err := os.ReadFile("/proc/" + name + "/stat")
	if err != nil {
		return true
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= statEnvironmentEnd || fields[statMemory] == "0" {
		return true
	}
	end := fields[statEnvironmentEnd]
	return end != "0" && end == fields[statEnvironment]
}

// killIfMarked looks again, once nobody else can take the pid.
func killIfMarked(pid int, name string, mark []byte) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ENOSYS) {
		return unix.Kill(pid, unix.SIGKILL) == nil
	}
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	return isMarked(name, mark) && unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) == nil
}
