package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// stateFolder has a folder for each box of this machine. Only root enters it.
	stateFolder = "/run/marianned-box"
	namePrefix  = "marianned-box-"
)

func (b *Box) folder() string  { return filepath.Join(stateFolder, b.name) }
func (b *Box) console() string { return filepath.Join(b.folder(), "console") }

// enroll makes the folder of a new box and holds its lock, by which others tell
// that it lives. What boxes whose lock nobody holds have left is removed first:
// their test was killed.
func enroll() (*Box, error) {
	if err := os.MkdirAll(stateFolder, 0o700); err != nil {
		return nil, err
	}
	all, err := lock(filepath.Join(stateFolder, "lock"), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if err := removeLeftovers(); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(stateFolder, namePrefix)
	if err != nil {
		return nil, err
	}
	b := &Box{name: filepath.Base(folder), ended: make(chan struct{})}
	b.lock, err = lock(filepath.Join(folder, "lock"), unix.LOCK_EX)
	return b, err
}

func removeLeftovers() error {
	entries, err := os.ReadDir(stateFolder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), namePrefix) {
			continue
		}
		held, err := lock(filepath.Join(stateFolder, entry.Name(), "lock"), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue // it lives
		}
		if err != nil {
			return err
		}
		err = removeTraces(entry.Name())
		held.Close()
		if err != nil {
			return fmt.Errorf("remove what an earlier run has left: %w", err)
		}
	}
	return nil
}

// removeTraces ends every process of a box and removes what is outside of it.
func removeTraces(name string) error {
	hierarchy, err := cgroupHierarchy()
	if err != nil {
		return err
	}
	if err := endCgroup(filepath.Join(hierarchy, name)); err != nil {
		return err
	}
	if err := removeCgroup(filepath.Join(mirror, name)); err != nil {
		return err
	}
	// systemd-nspawn makes it, and was not left the time to remove it.
	err = os.Remove(filepath.Join("/run/systemd/nspawn/propagate", name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(filepath.Join(stateFolder, name))
}

// lock opens the file at path, makes it if need be, and takes a lock on it that
// lasts until it is closed.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// remove ends the box and removes every trace of it.
func (b *Box) remove() error {
	err := removeTraces(b.name)
	<-b.ended
	if err != nil { // systemd-nspawn had not yet let go of the folder
		err = removeTraces(b.name)
	}
	return errors.Join(err, b.lock.Close())
}
