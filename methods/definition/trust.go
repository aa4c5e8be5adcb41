package definition

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// maxFileBytes bounds what is read of one file.
const maxFileBytes = 1 << 20

// trust refuses what anybody but its owners could have changed: who can write a
// definition decides what runs and for whom.
type trust struct {
	owners []uint32
}

// read returns the content of the file behind path. Links are followed: that
// they lead where they do is the word of whoever may write the folder.
func (t trust) read(path string) ([]byte, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if real != path {
		if err := t.folder(filepath.Dir(real)); err != nil {
			return nil, fmt.Errorf("it is a link to %s: %w", real, err)
		}
	}
	// A named pipe must not hold us up.
	file, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("found %s, expected a regular file, or a link to %s that hides one", info.Mode().Type(), os.DevNull)
	}
	if err := t.check(info, false); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("it is larger than %d bytes: split it", maxFileBytes)
	}
	return text, err
}

// folder looks at a folder and all above it.
func (t trust) folder(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if real, err = filepath.Abs(real); err != nil {
		return err
	}
	for ; ; real = filepath.Dir(real) {
		info, err := os.Lstat(real)
		if err != nil {
			return err
		}
		if err := t.check(info, true); err != nil {
			return fmt.Errorf("the folder %s: %w", real, err)
		}
		if real == "/" {
			return nil
		}
	}
}

// check refuses a file or folder by its owner and mode. Others may add to a
// sticky folder, but not replace what is in it.
func (t trust) check(info fs.FileInfo, folder bool) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("its owner is not known")
	}
	if !slices.Contains(t.owners, stat.Uid) {
		return fmt.Errorf("owned by uid %d, expected %s, since its owner decides what runs: chown it", stat.Uid, describeOwners(t.owners))
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 && !(folder && mode&fs.ModeSticky != 0) {
		return fmt.Errorf("may be written by others (mode %04o), expected by its owner alone, since who can write it decides what runs: chmod go-w it", mode.Perm())
	}
	return nil
}

func describeOwners(owners []uint32) string {
	for _, uid := range owners {
		if uid != 0 {
			return fmt.Sprintf("root or uid %d", uid)
		}
	}
	return "root"
}
