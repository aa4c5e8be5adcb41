package box

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// mirror is where systemd-nspawn makes the cgroup once more, if v1 is beside v2.
const mirror = "/sys/fs/cgroup/systemd"

// cgroupHierarchy returns where cgroup v2 is mounted: alone, or beside v1.
func cgroupHierarchy() (string, error) {
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var stat unix.Statfs_t
		if unix.Statfs(path, &stat) == nil && stat.Type == unix.CGROUP2_SUPER_MAGIC {
			return path, nil
		}
	}
	return "", errors.New("it is mounted neither on /sys/fs/cgroup nor on /sys/fs/cgroup/unified")
}

// makeCgroup makes a cgroup and opens it.
func makeCgroup(name string) (*os.File, error) {
	hierarchy, err := cgroupHierarchy()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(hierarchy, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// endCgroup kills what is in the cgroup at path and below, and removes it. One
// that is not there has ended.
func endCgroup(path string) error {
	// SIGKILL for all, those that are forked meanwhile too (cgroup-v2.rst, cgroup.kill).
	err := os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("%s: needs cgroup.kill, which Linux has since 5.14", path)
	}
	if err != nil {
		return err
	}
	// A killed process leaves its cgroup when the kernel has taken it apart.
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		events, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
		if err != nil {
			return err
		}
		if bytes.Contains(events, []byte("populated 0\n")) {
			break
		}
		if time.Since(start) > Patience {
			return fmt.Errorf("%s: processes in it do not die", path)
		}
	}
	return removeCgroup(path)
}

// removeCgroup removes the cgroup at path, in which there is no process, with
// those below.
func removeCgroup(path string) error {
	var folders []string
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, folder := range slices.Backward(folders) { // the deepest first
		err = errors.Join(err, unix.Rmdir(folder))
	}
	return err
}
