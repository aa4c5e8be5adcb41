package activation

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

const (
	// MaxInherited bounds LISTEN_FDS without what is stored. Two sockets have a use;
	// the rest is room for an error text that names the surplus instead of a number.
	MaxInherited = 64

	firstInherited = 3       // SD_LISTEN_FDS_START of sd_listen_fds(3)
	maxSwept       = 1 << 16 // descriptors closed when LISTEN_FDS is absurd
	maxStored      = 1 << 15
)

// Inherit returns the sockets that the service manager passed, in its order:
// always one named NameRPC, and at most one named NameAdmin. It returns nil,
// nil when nothing was passed to us: LISTEN_PID or LISTEN_FDS is absent, or
// LISTEN_PID or LISTEN_PIDFDID names another process; the descriptors are then
// left alone, whatever they are.
//
// A name that is empty, "unknown" (what sd_listen_fds_with_names(3) reports for
// none), or ends in ".socket" (a unit without FileDescriptorName= passes its
// own name, systemd.socket(5)) counts as NameRPC.
//
// Each socket must be a listening Unix stream socket with a path in the file
// system. Anything else is ErrConfig; all descriptors passed are then closed.
// The LISTEN_ variables are unset in every case and the descriptors are
// close-on-exec, so that no child inherits them. A child started at the same
// time may: call Inherit once, early in main.
//
// What the service manager has kept for this process by Notifier.Store is closed:
// see InheritStored.
func Inherit() ([]*Socket, error) {
	sockets, stored, err := InheritStored()
	for _, file := range stored {
		_ = file.Close() // nothing was written
	}
	return sockets, err
}

// InheritStored is Inherit for a daemon that uses Notifier.Store: it returns also
// what was stored, in no order, as files whose names are those that Store gave.
// They belong to the caller, are close-on-exec, and are still in the store.
func InheritStored() (sockets []*Socket, stored []*os.File, err error) {
	env := takeListenEnv()
	ours, err := env.isOurs()
	if err == nil && !ours {
		return nil, nil, nil
	}
	count, countErr := env.count()
	if err == nil {
		err = countErr
	}
	var passed []*Socket
	if err == nil {
		passed, err = env.check(count)
	}
	if err != nil {
		closePassed(count)
		return nil, nil, err
	}
	return env.listen(passed)
}

// listenEnv is what the environment said; nil means absent.
type listenEnv struct {
	pid, pidfdID, fds, names *string
}

func takeListenEnv() listenEnv {
	return listenEnv{
		pid:     takeenv("LISTEN_PID"),
		pidfdID: takeenv("LISTEN_PIDFDID"),
		fds:     takeenv("LISTEN_FDS"),
		names:   takeenv("LISTEN_FDNAMES"),
	}
}

// takeenv reads a variable and unsets it.
func takeenv(key string) *string {
	value, ok := os.LookupEnv(key)
	if !ok {
		return nil
	}
	_ = os.Unsetenv(key) // fails only for keys that cannot be set either
	return &value
}

func (e listenEnv) isOurs() (bool, error) {
	if e.pid == nil || e.fds == nil {
		return false, nil
	}
	pid, err := parseDecimal(*e.pid)
	if err != nil || pid == 0 {
		return false, refuse(ErrConfig, "LISTEN_PID is %q, expected the process id that the service manager sets: "+
			"do not set LISTEN_ variables by hand", *e.pid)
	}
	if pid != uint64(os.Getpid()) {
		return false, nil
	}
	if e.pidfdID == nil {
		return true, nil
	}
	// A pid can be given to another process, the number of a pidfd's inode
	// never is (pidfd_open(2)); older kernels cannot tell.
	id, err := parseDecimal(*e.pidfdID)
	if err != nil {
		return false, refuse(ErrConfig, "LISTEN_PIDFDID is %q, expected the inode number that the service manager sets: "+
			"do not set LISTEN_ variables by hand", *e.pidfdID)
	}
	own, ok := ownPidfdID()
	return !ok || id == own, nil
}

// ownPidfdID returns the inode number of our pidfd, and whether the kernel has
// such numbers: since Linux 6.9, and where an inode number has 64 bits.
func ownPidfdID() (uint64, bool) {
	if strconv.IntSize < 64 {
		return 0, false
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.PID_FS_MAGIC {
		return 0, false
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, false
	}
	return st.Ino, true
}

// count returns LISTEN_FDS. With an error it returns how many descriptors are
// to be closed: those announced, or 0 where that cannot be read. Only called
// with LISTEN_FDS present.
func (e listenEnv) count() (int, error) {
	count, err := parseDecimal(*e.fds)
	if err != nil || count == 0 {
		return 0, refuse(ErrConfig, "LISTEN_FDS is %q, expected a number from 1 to %d: "+
			"do not set LISTEN_ variables by hand", *e.fds, MaxInherited)
	}
	if n := e.stored(); count > uint64(MaxInherited+n) || n > maxStored {
		return int(min(count, maxSwept)), refuse(ErrConfig, "LISTEN_FDS announces %d file descriptors, expected at most %d: "+
			"the .socket unit needs one ListenStream=", count, MaxInherited)
	}
	return int(count), nil
}

// stored counts the names of what was stored.
func (e listenEnv) stored() (n int) {
	if e.names == nil {
		return 0
	}
	for name := range strings.SplitSeq(*e.names, ":") {
		if isStored(name) {
			n++
		}
	}
	return n
}

// check looks at every descriptor before anything is made of it. The sockets
// it returns, one for each descriptor, do not listen yet; nil stands for what was
// stored.
func (e listenEnv) check(count int) ([]*Socket, error) {
	for fd := firstInherited; fd < firstInherited+count; fd++ {
		if !wasPassed(fd) {
			return nil, refuse(ErrConfig, "LISTEN_FDS announces %d file descriptors (%d to %d), but %d was not passed: "+
				"start the daemon from its .socket unit, and do not set LISTEN_ variables by hand",
				count, firstInherited, firstInherited+count-1, fd)
		}
	}
	names := make([]string, count)
	if e.names != nil {
		names = strings.Split(*e.names, ":")
	}
	if len(names) != count {
		return nil, refuse(ErrConfig, "LISTEN_FDNAMES has %d names (%q) for %d file descriptors, expected one for each: "+
			"do not set LISTEN_ variables by hand", len(names), *e.names, count)
	}
	sockets := make([]*Socket, count)
	paths := map[string]string{}
	for i := range sockets {
		if isStored(names[i]) {
			continue
		}
		fd := firstInherited + i
		path, err := listeningPath(fd)
		if err != nil {
			return nil, err
		}
		name, err := socketName(names[i])
		if err != nil {
			return nil, err
		}
		if other, ok := paths[name]; ok {
			return nil, refuse(ErrConfig, "two sockets are named %q: %s and %s, expected at most one: "+
				"keep one ListenStream= in each .socket unit, and say FileDescriptorName=%s in the one for operators",
				name, other, path, NameAdmin)
		}
		paths[name] = path
		sockets[i] = &Socket{Name: name, Path: path, Inherited: true}
	}
	if len(paths) == 0 {
		return nil, refuse(ErrConfig, "no socket was passed, only what was stored: start the .socket unit, and list it in Sockets= of the service")
	}
	if _, ok := paths[NameRPC]; !ok {
		return nil, refuse(ErrConfig, "the only socket passed is %q (%s), expected one named %q: "+
			"start the .socket unit that says FileDescriptorName=%s too, and list it in Sockets= of the service",
			NameAdmin, paths[NameAdmin], NameRPC, NameRPC)
	}
	return sockets, nil
}

func socketName(found string) (string, error) {
	switch {
	case found == "", found == "unknown", strings.HasSuffix(found, ".socket"):
		return NameRPC, nil
	case found == NameRPC, found == NameAdmin:
		return found, nil
	}
	return "", refuse(ErrConfig, "a socket is named %q, expected %q or %q: "+
		"the .socket unit must say FileDescriptorName=%s or FileDescriptorName=%s",
		found, NameRPC, NameAdmin, NameRPC, NameAdmin)
}

// listen makes a listener of every descriptor for which there is a socket in
// passed. It closes the descriptors whether it fails or not: the listeners have
// duplicates. The rest it returns as it is.
func (e listenEnv) listen(passed []*Socket) (sockets []*Socket, stored []*os.File, err error) {
	// Files reads the environment; it unsets what we give it.
	os.Setenv("LISTEN_PID", *e.pid)
	os.Setenv("LISTEN_FDS", *e.fds)
	if e.names != nil {
		os.Setenv("LISTEN_FDNAMES", *e.names)
	}
	files := systemd.Files(true)
	var errs []error
	for i, file := range files {
		if passed[i] == nil {
			stored = append(stored, file)
			continue
		}
		listener, err := net.FileListener(file)
		file.Close()
		if err != nil {
			errs = append(errs, fmt.Errorf("listen on inherited file descriptor %d: %w", firstInherited+i, err))
			continue
		}
		passed[i].Listener = listener.(*net.UnixListener)
		// net leaves it off for a file; a removed node would cut off every
		// later start, so do not depend on that.
		passed[i].Listener.SetUnlinkOnClose(false)
		sockets = append(sockets, passed[i])
	}
	if len(errs) == 0 {
		return sockets, stored, nil
	}
	for _, s := range sockets {
		s.Close()
	}
	for _, file := range stored {
		file.Close()
	}
	return nil, nil, errors.Join(errs...)
}

// wasPassed reports whether fd came to us through execve(2). A descriptor that
// is close-on-exec cannot have: it is one of our own, the Go runtime's for
// example, that happens to have a number in the announced range.
func wasPassed(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// closePassed closes those of the first count descriptors that were passed.
func closePassed(count int) {
	for fd := firstInherited; fd < firstInherited+count; fd++ {
		if wasPassed(fd) {
			unix.Close(fd)
		}
	}
}

// parseDecimal reads digits only: no sign, no space, no leading zero.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil && strconv.FormatUint(n, 10) != s {
		err = strconv.ErrSyntax
	}
	return n, err
}
