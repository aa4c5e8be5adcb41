package conffile

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const suffix = ".toml"

// List returns the paths of the files that are in force, by the order of their
// names: of files of one name that in the first folder which has it. A link to
// /dev/null hides the files of its name in later folders, and is none itself. A
// folder that is not there is empty.
func List(folders []string, trust Trust, findings *Findings) []string {
	byName := make(map[string]string) // "" for one that is hidden
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = trust.folder(folder)
		}
		if err != nil {
			findings.Add(Position{File: folder}, "%s", Reason(err))
			continue
		}
		for _, entry := range entries {
			name := entry.Name()
			if _, hidden := byName[name]; hidden || !strings.HasSuffix(name, suffix) || strings.HasPrefix(name, ".") {
				continue
			}
			path := filepath.Join(folder, name)
			if hides(path) {
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

// First returns the path of the file of a name in the first folder that has it,
// or "" if none has it, or if it is a link to /dev/null there.
func First(folders []string, name string) string {
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		if hides(path) {
			return ""
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return path // or why not, for whoever reads it
		}
	}
	return ""
}

func hides(path string) bool {
	target, err := os.Readlink(path)
	return err == nil && target == os.DevNull
}

// Reason returns an error without the path, which stands before it anyway.
func Reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Op + ": " + path.Err.Error()
	}
	return err.Error()
}
