package activation

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockSuffix = ".lock"

	// How long a start waits for the holder of the lock to write its pid, and
	// how often it looks. The holder needs microseconds, but may have lost the
	// processor in between.
	lockTimeout  = time.Second
	lockInterval = 2 * time.Millisecond
)

// lock is the right to a path, held for life: flock(2) on "<name>.lock" beside
// it, which the kernel gives back however the process ends. The file holds the
// holder's pid and a newline, or nothing after a clean end. It is never
// unlinked: another start could hold the lock on a file without a name while a
// third makes a new one.
type lock struct {
	fd int
}

// takeLock takes the lock of a place, or answers ErrAlreadyRunning with the
// holder's pid.
func takeLock(at place) (*lock, error) {
	at.name += lockSuffix
	at.path += lockSuffix
	deadline := time.Now().Add(lockTimeout)
	for {
		fd, err := openLock(at)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		late := !time.Now().Before(deadline)
		switch {
		case err == nil:
			current, err := at.holds(fd)
			if err == nil && current {
				err = writePID(fd)
			}
			if err == nil && current {
				return &lock{fd: fd}, nil
			}
			unix.Close(fd)
			if err != nil {
				return nil, refuse(kindOf(err), "write our pid to the lock file %s: %w", at.path, err)
			}
			// Somebody removed the file while we locked it: lock the next one.
			if late {
				return nil, refuse(ErrCannotCreate, "the lock file %s is being removed again and again: "+
					"find out by whom, it must stay", at.path)
			}
		case err == unix.EWOULDBLOCK:
			pid := readPID(fd)
			unix.Close(fd)
			switch {
			case alive(pid) && (pid != os.Getpid() || late):
				return nil, alreadyRunning(pid, "it holds %s", at.path)
			case late:
				return nil, alreadyRunning(0, "another process holds %s", at.path)
			}
			// A dead pid, or our own, is from an earlier holder: the present
			// one has not written its own yet, or is about to let go.
		default:
			unix.Close(fd)
			return nil, refuse(kindOf(err), "lock %s: %w", at.path, err)
		}
		time.Sleep(lockInterval)
	}
}

func alreadyRunning(pid int, how string, args ...any) error {
	who := "pid unknown"
	if pid > 0 {
		who = fmt.Sprintf("pid %d", pid)
	}
	return refuse(ErrAlreadyRunning, "already running, %s: %s: stop it first, or choose another path",
		who, fmt.Sprintf(how, args...))
}

// openLock opens the lock file, and makes it if it is missing. In a directory
// shared with a group, somebody else may have put a file of that name there.
func openLock(at place) (int, error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

	fd, err := unix.Openat(at.dir, at.name, flags, 0o600)
	if err != nil {
		return -1, refuseLock(at, err)
	}
	if err := checkLock(fd, at.path); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// refuseLock says why the lock file could be neither opened nor made.
func refuseLock(at place, err error) error {
	st, statErr := at.lstat()
	switch denied := kindOf(err) == ErrNotPermitted; {
	case statErr == nil && st.Mode&unix.S_IFMT != unix.S_IFREG:
		return refuse(ErrCannotCreate, "the lock file %s is %s, expected a regular file: move it away",
			at.path, fileKind(st.Mode))
	case statErr == nil && denied:
		return refuse(ErrNotPermitted, "open the lock file %s (owner uid %d, mode %04o) as uid %d: %w: "+
			"if no daemon runs under that owner, remove it", at.path, st.Uid, st.Mode&0o7777, os.Geteuid(), err)
	case denied:
		return refuse(ErrNotPermitted, "make the lock file %s: %w: the directory must be writable by uid %d: "+
			"change that, or choose another path", at.path, err, os.Geteuid())
	}
	return refuse(ErrCannotCreate, "open the lock file %s: %w: choose another path, or give the system what it lacks",
		at.path, err)
}

func checkLock(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("inspect the lock file %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return refuse(ErrCannotCreate, "the lock file %s is %s, expected a regular file: move it away", path, fileKind(st.Mode))
	case int(st.Uid) != os.Geteuid():
		return refuse(ErrNotPermitted, "the lock file %s is owned by uid %d, expected uid %d: "+
			"if no daemon runs under that owner, remove it", path, st.Uid, os.Geteuid())
	case st.Nlink > 1:
		// Writing our pid would destroy what the other name stands for.
		return refuse(ErrCannotCreate, "the lock file %s has %d hard links, expected one: remove it", path, st.Nlink)
	case st.Mode&0o7777 != 0o600:
		// Made under another umask. Whoever can open the file can lock it.
		if err := unix.Fchmod(fd, 0o600); err != nil {
			return refuse(kindOf(err), "set the mode of the lock file %s to 0600: %w", path, err)
		}
	}
	return nil
}

// writePID writes first and cuts off afterwards: a reader finds the first line
// complete at every instant.
func writePID(fd int) error {
	line := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := unix.Pwrite(fd, []byte(line), 0); err != nil {
		return err
	}
	return unix.Ftruncate(fd, int64(len(line)))
}

// readPID returns 0 where the file has no pid.
func readPID(fd int) int {
	buf := make([]byte, 32)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return 0
	}
	line, _, complete := bytes.Cut(buf[:n], []byte("\n"))
	pid, err := strconv.ParseInt(string(line), 10, 32)
	if !complete || err != nil || pid <= 0 {
		return 0
	}
	return int(pid)
}

func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}

func (l *lock) release() error {
	// Unlock by name, not only by close: a child that forks right now has the
	// same description until its execve, and would keep it locked.
	err := errors.Join(
		unix.Ftruncate(l.fd, 0),
		unix.Flock(l.fd, unix.LOCK_UN),
		unix.Close(l.fd),
	)
	if err != nil {
		return fmt.Errorf("release the lock file: %w", err)
	}
	return nil
}
