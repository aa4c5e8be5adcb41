package activation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openParent walks from the root to dir, an absolute clean path, and returns
// an O_PATH descriptor of it. No component may be a symbolic link, and each
// must be out of other users' reach: then nobody but root and us can make the
// path lead elsewhere between our looks at it. Missing components are made.
//
// The model is safe_path of OpenSSH (misc.c).
func openParent(dir string) (int, error) {
	names := strings.Split(strings.Trim(dir, "/"), "/")
	if dir == "/" {
		names = nil
	}
	path := "/"
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, refuse(kindOf(err), "open %s: %w", path, err)
	}
	if err := trusted(fd, path, len(names) == 0); err != nil {
		unix.Close(fd)
		return -1, err
	}
	for i, name := range names {
		path = filepath.Join(path, name)
		next, err := enter(fd, name, path, dir)
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
		if err := trusted(fd, path, i == len(names)-1); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// enter opens the directory name in dirfd, and makes it if it is missing. path
// is its full name, and dir what the walk is after: both are for error texts.
func enter(dirfd int, name, path, dir string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

	fd, err := unix.Openat(dirfd, name, flags, 0)
	if err == unix.ENOENT {
		mode := uint32(0o700)
		if os.Geteuid() == 0 {
			mode = 0o755
		}
		err = unix.Mkdirat(dirfd, name, mode)
		if err != nil && err != unix.EEXIST { // EEXIST: another start was faster, and made the same
			return -1, refuse(kindOf(err), "make the directory %s: %w: make it, or choose a path below a directory of yours", path, err)
		}
		made := err == nil
		fd, err = unix.Openat(dirfd, name, flags, 0)
		if err == nil && made {
			// umask may have taken bits away, even our own.
			err = chmod(fd, mode)
			if err != nil {
				unix.Close(fd)
				return -1, refuse(kindOf(err), "set the mode of %s to %04o: %w", path, mode, err)
			}
		}
	}
	switch {
	case err == nil:
		return fd, nil
	case err == unix.ENOTDIR || err == unix.ELOOP:
		return -1, refuseComponent(dirfd, name, path, dir)
	default:
		return -1, refuse(kindOf(err), "open the directory %s: %w", path, err)
	}
}

// refuseComponent says what stands where a directory was expected.
func refuseComponent(dirfd int, name, path, dir string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return refuse(kindOf(err), "inspect %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return refuse(ErrCannotCreate, "%s is %s, expected a directory: choose another path, or move it away",
			path, fileKind(st.Mode))
	}
	real, err := realPath(path, dir)
	if err != nil {
		return refuse(ErrCannotCreate, "%s is a symbolic link that leads nowhere (%w), expected a directory: "+
			"name a path without links", path, err)
	}
	return refuse(ErrCannotCreate, "%s is a symbolic link, expected a directory, since whoever owns a link decides "+
		"where it leads: the real path is %s, name that", path, real)
}

// realPath resolves link, and as much of dir behind it as exists.
func realPath(link, dir string) (string, error) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real, nil
	}
	real, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", err
	}
	return filepath.Join(real, strings.TrimPrefix(dir, link)), nil
}

// trusted refuses a directory that another user could change. last is the one
// that holds the socket: in a sticky directory others cannot remove what is
// ours, but a world-writable one lets anybody take the name first. Access
// control lists need no look: their mask shows as the group's bits, acl(5).
func trusted(fd int, path string, last bool) error {
	const remedy = "choose a directory of your own, such as /run/NAME or $XDG_RUNTIME_DIR/NAME"

	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("inspect %s: %w", path, err)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return refuse(ErrNotPermitted, "the directory %s is owned by uid %d, expected root or uid %d, since its owner could "+
			"replace the socket: %s", path, st.Uid, os.Geteuid(), remedy)
	}
	sticky := st.Mode&unix.S_ISVTX != 0
	switch {
	case last && st.Mode&0o002 != 0:
		return refuse(ErrNotPermitted, "the directory %s may be written by everybody (mode %04o), expected nobody but its owner, "+
			"since anybody could take the name first: %s", path, st.Mode&0o7777, remedy)
	case st.Mode&0o022 != 0 && !sticky:
		who := fmt.Sprintf("group %d", st.Gid)
		if st.Mode&0o002 != 0 {
			who = "everybody"
		}
		return refuse(ErrNotPermitted, "the directory %s may be written by %s (mode %04o), expected nobody but its owner, "+
			"or a sticky directory: %s, or chmod go-w it", path, who, st.Mode&0o7777, remedy)
	}
	return nil
}

// chmod sets the mode of the very inode behind an O_PATH descriptor, which
// fchmod(2) refuses, and reads it back.
func chmod(fd int, mode uint32) error {
	if err := unix.Chmod(procPath(fd), mode); err != nil {
		if err == unix.ENOENT {
			err = fmt.Errorf("%w: is /proc mounted?", err)
		}
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&0o777 != mode {
		return errors.New("the file system does not keep modes")
	}
	return nil
}

func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
