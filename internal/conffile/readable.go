package conffile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Readable reports why a user with one group may not read a file, by the modes of
// the file and of the folders above it, path_resolution(7). Access control lists
// are not looked at.
func Readable(path string, uid, gid uint32) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if real, err = filepath.Abs(real); err != nil {
		return err
	}
	const read, search = 4, 1
	if err := allows(real, read, uid, gid); err != nil {
		return err
	}
	for folder := filepath.Dir(real); ; folder = filepath.Dir(folder) {
		if err := allows(folder, search, uid, gid); err != nil {
			return err
		}
		if folder == "/" {
			return nil
		}
	}
}

func allows(path string, bit fs.FileMode, uid, gid uint32) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || uid == 0 {
		return nil
	}
	switch mode := info.Mode().Perm(); {
	case stat.Uid == uid && mode&(bit<<6) != 0,
		stat.Uid != uid && stat.Gid == gid && mode&(bit<<3) != 0,
		stat.Uid != uid && stat.Gid != gid && mode&bit != 0:
		return nil
	default:
		return fmt.Errorf("%s has mode %04o, owner %d and group %d", path, mode, stat.Uid, stat.Gid)
	}
}
