package definition

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SystemFolders are those of the system's daemon: a file hides those of the
// same name in later ones.
var SystemFolders = []string{
	"/etc/marianned/methods.d",
	"/run/marianned/methods.d",
	"/usr/lib/marianned/methods.d",
}

// DefaultFolders returns UserFolders for a user's own daemon, which is told by
// the XDG_RUNTIME_DIR that its session gives it, and SystemFolders for root and
// for a service of the system.
func DefaultFolders() []string {
	if os.Geteuid() != 0 && filepath.IsAbs(os.Getenv("XDG_RUNTIME_DIR")) {
		return UserFolders()
	}
	return SystemFolders
}

const suffix = ".toml"

// UserFolders returns the folder of a user's own daemon, below $XDG_CONFIG_HOME
// (XDG Base Directory Specification), or nil where that is unknown.
func UserFolders() []string {
	config, err := os.UserConfigDir()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(config, "marianned", "methods.d")}
}

// list returns the paths of the files that are in force, by the order of their
// names. A link to /dev/null hides the files of its name in later folders, and
// is none itself. A folder that is not there is empty.
func list(folders []string, trust trust, findings *Findings) []string {
	byName := make(map[string]string) // "" for one that is masked
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = trust.folder(folder)
		}
		if err != nil {
			findings.Add(Position{File: folder}, "%s", reason(err))
			continue
		}
		for _, entry := range entries {
			name := entry.Name()
			if _, hidden := byName[name]; hidden || !strings.HasSuffix(name, suffix) || strings.HasPrefix(name, ".") {
				continue
			}
			path := filepath.Join(folder, name)
			if target, err := os.Readlink(path); err == nil && target == os.DevNull {
				path = ""
			}
			byName[name] = path
		}
	}
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if byName[name] != "" {
			paths = append(paths, byName[name])
		}
	}
	return paths
}

// reason returns an error without the path, which stands before it anyway.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Op + ": " + path.Err.Error()
	}
	return err.Error()
}
