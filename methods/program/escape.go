package program

import (
	"bytes"
	"errors"
	"os"
	"strconv"

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

func isMarked(name string, mark []byte) bool {
	environment, err := os.ReadFile("/proc/" + name + "/environ")
	return err == nil && bytes.Contains(append([]byte{0}, environment...), mark)
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
