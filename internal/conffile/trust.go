package conffile

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

// Trust refuses what anybody but its owners could have changed: who can write a
// file of the daemon's decides what the daemon does, and for whom.
type Trust struct {
	// Owners are the uids whose files count. Where it is empty nobody's files
	// are refused: fit for looking at files that are not installed yet.
	Owners []uint32
}

// Trusted returns the trust of a daemon: in root's files, and its own user's.
func Trusted() Trust { return Trust{[]uint32{0, uint32(os.Geteuid())}} }

// Read returns the content of the file behind path, of at most 1 MiB. Links are followed: that
// they lead where they do is the word of whoever may write the folder.
func (t Trust) Read(path string) ([]byte, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if err := t.folder(filepath.Dir(real)); err != nil {
		if real != path {
			err = fmt.Errorf("it is a link to %s: %w", real, err)
		}
		return nil, err
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
func (t Trust) folder(path string) error {
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
func (t Trust) check(info fs.FileInfo, folder bool) error {
	if len(t.Owners) == 0 {
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("its owner is not known")
	}
	if !slices.Contains(t.Owners, stat.Uid) {
		return fmt.Errorf("owned by uid %d, expected %s, since its owner decides what the daemon does: chown it", stat.Uid, describeOwners(t.Owners))
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 && !(folder && mode&fs.ModeSticky != 0) {
		return fmt.Errorf("may be written by others (mode %04o), expected by its owner alone, since who can write it decides what the daemon does: chmod go-w it", mode.Perm())
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
