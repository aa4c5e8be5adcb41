package activation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// MaxPathBytes is what sun_path holds besides its NUL, unix(7).
	MaxPathBytes = 107

	// DefaultMode lets the owner and the group connect, which needs the
	// permission to write.
	DefaultMode fs.FileMode = 0o660
)

// BindOptions says where to listen, and who may connect.
type BindOptions struct {
	// Path is absolute and clean, of at most MaxPathBytes bytes. Missing
	// parents are made: 0755 as root, else 0700.
	Path string

	// Mode of the node, exactly, whatever the umask; permission bits only.
	// 0: DefaultMode.
	Mode fs.FileMode

	// Group that owns the node: a name, or a number. "": as the kernel decides,
	// which is our own group, or that of a set-group-ID directory.
	Group string
}

// Bind listens on a path of the file system, and holds the lock file
// "<Path>.lock" until Close.
//
// Every parent must be owned by root or us and writable by nobody else, unless
// it is sticky; the last one must not be world-writable at all; none may be a
// symbolic link. What is found at the path is removed only if it is our own
// stale socket. The node never has a wider mode than asked for, nor belongs to
// another group with that mode, not for an instant.
//
// Of several starts at the same time one succeeds; the others fail with
// ErrAlreadyRunning, at once, or after a second where the holder's pid cannot
// be learnt.
//
// Errors match ErrConfig, ErrAlreadyRunning, ErrCannotCreate or
// ErrNotPermitted; one that matches none of them is an internal failure.
func Bind(opts BindOptions) (*Socket, error) {
	if err := CheckPath(opts.Path); err != nil {
		return nil, err
	}
	mode, err := opts.mode()
	if err != nil {
		return nil, err
	}
	gid, err := lookupGroup(opts.Group)
	if err != nil {
		return nil, err
	}

	dir, name := filepath.Split(opts.Path)
	parent, err := openParent(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	at := place{dir: parent, name: name, path: opts.Path}
	lock, err := takeLock(at)
	if err != nil {
		at.close()
		return nil, err
	}
	listener, node, err := bindLocked(at, mode, gid)
	if err != nil {
		lock.release()
		at.close()
		return nil, err
	}
	return &Socket{Name: NameRPC, Path: opts.Path, Listener: listener, node: node, lock: lock}, nil
}

// bindLocked makes the listener and its node. The caller holds the lock.
func bindLocked(at place, mode uint32, gid int) (*net.UnixListener, *node, error) {
	if err := removeStale(at); err != nil {
		return nil, nil, err
	}
	initial := mode
	if gid >= 0 {
		// Until the node has its group, the group's bits would go to ours and
		// the others' bits to members of the group.
		initial &= 0o700
	}
	listener, err := listen(at, initial)
	if err != nil {
		return nil, nil, err
	}
	n, err := openNode(at)
	if err == nil && n == nil {
		err = refuse(ErrCannotCreate, "%s was removed while it was made: find out by whom", at.path)
	}
	if err != nil {
		listener.Close()
		return nil, nil, err
	}
	// What is there now must be ours; if it is not, it must stay.
	if err := n.checkOwn(); err != nil {
		n.close()
		listener.Close()
		return nil, nil, err
	}
	if err := n.open(mode, gid); err != nil {
		err = errors.Join(err, n.remove())
		n.close()
		listener.Close()
		return nil, nil, err
	}
	return listener, n, nil
}

// removeStale clears the place, or says why it cannot.
func removeStale(at place) error {
	n, err := openNode(at)
	if n == nil {
		return err
	}
	defer n.close()
	if err := n.checkOwn(); err != nil {
		return err
	}
	if err := n.checkStale(); err != nil {
		return err
	}
	return n.remove()
}

// listen binds a socket that has its mode already: the mode of the node is the
// socket's own less the umask, and fchmod(2) on a socket does not reach the
// node once there is one.
func listen(at place, mode uint32) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var chmodErr error
		err := conn.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), mode) })
		return errors.Join(err, chmodErr)
	}}
	l, err := config.Listen(context.Background(), "unix", at.path)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, refuse(ErrCannotCreate, "another program put something at %s while we started (%w): "+
			"find out which, or choose another path", at.path, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, refuse(ErrNotPermitted, "%w: the directory must be writable by uid %d: change that, or choose another path",
			err, unix.Geteuid())
	case err != nil:
		return nil, refuse(ErrCannotCreate, "%w: choose another path, or give the system what it lacks", err)
	}
	listener := l.(*net.UnixListener)
	listener.SetUnlinkOnClose(false) // by name; node.remove unlinks by inode
	return listener, nil
}

// open gives the node its group and then its mode, which can only widen it.
func (n *node) open(mode uint32, gid int) error {
	if gid >= 0 && uint32(gid) != n.st.Gid {
		if err := unix.Fchownat(n.fd, "", -1, gid, unix.AT_EMPTY_PATH); err != nil {
			return refuse(kindOf(err), "give %s to group %d: %w: uid %d must be root or a member of the group",
				n.at.path, gid, err, unix.Geteuid())
		}
	}
	if err := chmod(n.fd, mode); err != nil {
		return refuse(kindOf(err), "set the mode of %s to %04o: %w", n.at.path, mode, err)
	}
	return nil
}

// CheckPath reports, as an ErrConfig, why no socket can be bound to a path,
// whatever is there.
func CheckPath(path string) error {
	const expected = "expected an absolute path such as /run/NAME/NAME.sock"
	switch {
	case path == "":
		return refuse(ErrConfig, "no socket path, %s: name one", expected)
	case path[0] == '@' || path[0] == 0:
		return refuse(ErrConfig, "%q is an abstract socket, which has no permissions (unix(7)), %s: name one", path, expected)
	case strings.ContainsRune(path, 0):
		return refuse(ErrConfig, "the socket path %q contains a NUL, %s: name one", path, expected)
	case path[0] != '/':
		return refuse(ErrConfig, "the socket path %q is relative, %s: write it in full", path, expected)
	case path == "/":
		return refuse(ErrConfig, "the socket path is /, %s: name one", expected)
	case filepath.Clean(path) != path:
		return refuse(ErrConfig, "the socket path %q is not clean, expected %q: write that", path, filepath.Clean(path))
	case len(path) > MaxPathBytes:
		return refuse(ErrConfig, "the socket path %q has %d bytes, expected at most %d (unix(7)): choose a shorter one",
			path, len(path), MaxPathBytes)
	}
	return nil
}

func (o BindOptions) mode() (uint32, error) {
	if o.Mode == 0 {
		return uint32(DefaultMode), nil
	}
	if o.Mode&^fs.ModePerm != 0 {
		return 0, refuse(ErrConfig, "the socket mode is %O, expected permission bits only, such as %O: "+
			"a socket has no other", uint32(o.Mode), uint32(DefaultMode))
	}
	return uint32(o.Mode), nil
}

// lookupGroup returns -1 for "".
func lookupGroup(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	id := group
	if strings.Trim(group, "0123456789") != "" { // no group's name is a number
		found, err := user.LookupGroup(group)
		if err != nil {
			return -1, refuse(ErrConfig, "the socket group %q: %w, expected the name or number of a group on this machine: "+
				"make it with groupadd(8), or name another", group, err)
		}
		id = found.Gid
	}
	// The highest number means "no change" to chown(2).
	gid, err := strconv.ParseUint(id, 10, 32)
	if err != nil || gid == math.MaxUint32 {
		return -1, refuse(ErrConfig, "the socket group is %q, expected a number from 0 to %d: name another",
			fmt.Sprint(id), uint32(math.MaxUint32-1))
	}
	return int(gid), nil
}
