package activation

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// place is a name in a directory that openParent has checked. Everything done
// to the name goes through the directory's descriptor.
type place struct {
	dir  int    // O_PATH
	name string // in dir
	path string // the whole, for error texts
}

func (p place) lstat() (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(p.dir, p.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

func (p place) close() { unix.Close(p.dir) }

// holds reports whether the name stands for the inode behind fd. As long as fd
// is open, no other file can get that inode number.
func (p place) holds(fd int) (bool, error) {
	var own unix.Stat_t
	if err := unix.Fstat(fd, &own); err != nil {
		return false, err
	}
	found, err := p.lstat()
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil && found.Dev == own.Dev && found.Ino == own.Ino, err
}

// node is a file at a place, pinned by an O_PATH descriptor: what is asked and
// done through it concerns this inode, whatever the name stands for meanwhile.
type node struct {
	at place
	fd int
	st unix.Stat_t
}

// openNode returns nil, nil if there is nothing at the place.
func openNode(at place) (*node, error) {
	fd, err := unix.Openat(at.dir, at.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, refuse(kindOf(err), "inspect %s: %w", at.path, err)
	}
	n := &node{at: at, fd: fd}
	if err := unix.Fstat(fd, &n.st); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("inspect %s: %w", at.path, err)
	}
	return n, nil
}

// checkOwn refuses what is not a socket of ours.
func (n *node) checkOwn() error {
	switch kind := n.st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return refuse(ErrCannotCreate, "%s is a symbolic link, expected nothing or a stale socket: it is left as it is; "+
			"remove it, or choose another path", n.at.path)
	case kind != unix.S_IFSOCK:
		return refuse(ErrCannotCreate, "%s is %s, expected nothing or a stale socket: it is left as it is; "+
			"move it away, or choose another path", n.at.path, fileKind(n.st.Mode))
	case int(n.st.Uid) != os.Geteuid():
		return refuse(ErrNotPermitted, "%s is a socket of uid %d, expected nothing or a stale socket of uid %d: "+
			"it is left as it is; stop what uses it and remove it, or choose another path", n.at.path, n.st.Uid, os.Geteuid())
	}
	return nil
}

// checkStale refuses a socket that somebody listens on, or may. The lock must
// be held: a socket between its bind(2) and its listen(2) refuses connections
// just as one whose process is gone.
func (n *node) checkStale() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("probe %s: %w", n.at.path, err)
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: procPath(n.fd)}); err {
	case unix.ECONNREFUSED:
		return nil
	case nil:
		return n.refuseLive(fd)
	case unix.EAGAIN:
		return alreadyRunning(0, "%s is listened on, and its backlog is full", n.at.path)
	case unix.EPROTOTYPE:
		return refuse(ErrCannotCreate, "%s is a live socket of another type than stream, expected nothing or a stale socket: "+
			"stop what uses it, or choose another path", n.at.path)
	default:
		return refuse(kindOf(err), "cannot tell whether anybody listens on %s (mode %04o): %w: "+
			"if nobody does, remove it", n.at.path, n.st.Mode&0o7777, err)
	}
}

// refuseLive names the process that called listen(2); conn is connected to it.
// It does not hold our lock: another program, or the service manager, which
// listens for a daemon that is not to be started by hand.
func (n *node) refuseLive(conn int) error {
	peer, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return alreadyRunning(0, "something listens on %s", n.at.path)
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", peer.Pid))
	if strings.TrimSpace(string(comm)) == "systemd" {
		return refuse(ErrAlreadyRunning, "already running, pid %d: the service manager listens on %s for its .socket unit, "+
			"and starts the daemon by itself: use that one, or stop the .socket unit, or choose another path", peer.Pid, n.at.path)
	}
	return alreadyRunning(int(peer.Pid), "it listens on %s without our lock", n.at.path)
}

// remove unlinks the node if it is still at its place. Between the look and
// the unlink only root and we ourselves could put another one there.
func (n *node) remove() error {
	held, err := n.at.holds(n.fd)
	if err == nil && held {
		err = unix.Unlinkat(n.at.dir, n.at.name, 0)
		if err == unix.ENOENT {
			err = nil
		}
	}
	if err != nil {
		return refuse(kindOf(err), "remove the socket %s: %w", n.at.path, err)
	}
	return nil
}

func (n *node) close() { unix.Close(n.fd) }
