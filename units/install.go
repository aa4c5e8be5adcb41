package units

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Action is what became of one file.
type Action string

const (
	Written   Action = "written"     // there was none
	Replaced  Action = "replaced"    // there was another, and Force was set
	Unchanged Action = "unchanged"   // it was there with this content
	Differs   Action = "differs"     // there is another, left alone
	Withheld  Action = "not written" // there is none, but another file differs
)

// ErrDiffers is matched by the error of an [Install] that found other files in
// the places of its own and changed nothing.
var ErrDiffers = errors.New("units: files there differ")

// Options say how to install. The zero value installs into the running system
// and overwrites nothing.
type Options struct {
	// Root is the folder taken for "/", for an image or a package being made.
	// Empty means the running system.
	Root string

	// Force replaces files that differ, masks (links to /dev/null) included.
	Force bool
}

// Result is what is left to do after an [Install].
type Result struct {
	// Next holds the commands to run now, in their order, each for a shell. It
	// is nil when Options.Root names another system than the running one.
	Next []string
}

// Install writes the files of scope, with mode 0644, and calls report once for
// each file, with the path that it has on this system. All targets are looked at
// first: if one differs and opts.Force is not set, nothing is written and the
// error matches [ErrDiffers].
//
// Each file appears whole or not at all (written beside its target, synced,
// renamed); the set of them is not one step. Install starts nothing, and two
// calls at once are not kept apart.
func Install(scope Scope, params Params, opts Options, report func(File, Action)) (Result, error) {
	files, err := Files(scope, params)
	if err != nil {
		return Result{}, err
	}
	if opts.Root != "" {
		for i := range files {
			files[i].Path = filepath.Join(opts.Root, files[i].Path)
		}
	}

	actions := make([]Action, len(files))
	var differing []string
	for i, file := range files {
		found, err := compare(file)
		if err != nil {
			return Result{}, err
		}
		actions[i] = found
		if found == Differs {
			differing = append(differing, file.Path)
		}
	}
	if len(differing) > 0 && !opts.Force {
		for i, file := range files {
			if actions[i] == Written {
				actions[i] = Withheld
			}
			report(file, actions[i])
		}
		return Result{}, fmt.Errorf("%w: %s; nothing was written: move your changes to a drop-in (systemctl edit), or force the replacement",
			ErrDiffers, strings.Join(differing, ", "))
	}

	for i, file := range files {
		if actions[i] != Unchanged {
			if err := write(file, scope); err != nil {
				return Result{}, err
			}
		}
		if actions[i] == Differs {
			actions[i] = Replaced
		}
		report(file, actions[i])
	}
	if opts.Root != "" && filepath.Clean(opts.Root) != "/" {
		return Result{}, nil
	}
	return Result{Next: next(scope, files, actions)}, nil
}

// compare says what writing file would mean: Written, Unchanged or Differs.
func compare(file File) (Action, error) {
	info, err := os.Lstat(file.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Written, nil
	case err != nil:
		return "", fmt.Errorf("units: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		// A mask, or a unit linked from elsewhere: somebody's decision.
		return Differs, nil
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("units: found a %s at %s, expected a file or nothing; move it away",
			describe(info.Mode()), file.Path)
	case info.Size() != int64(len(file.Content)):
		return Differs, nil
	}
	content, err := os.ReadFile(file.Path)
	if err != nil {
		return "", fmt.Errorf("units: %w", err)
	}
	if !bytes.Equal(content, file.Content) {
		return Differs, nil
	}
	return Unchanged, nil
}

func describe(mode fs.FileMode) string {
	if mode.IsDir() {
		return "folder"
	}
	return "special file (" + mode.Type().String() + ")"
}

// write puts file at its path in one step: a reader sees the old file, or the
// whole new one, also after a loss of power.
func write(file File, scope Scope) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("units: cannot install %s: %w", file.Path, err)
		}
	}()
	folder := filepath.Dir(file.Path)
	mode := fs.FileMode(0o755)
	if scope == User {
		mode = 0o700 // XDG Base Directory Specification, for folders that are missing
	}
	if err := os.MkdirAll(folder, mode); err != nil {
		return err
	}
	// The name has no suffix of a unit: a reload in between does not see it.
	temporary, err := os.CreateTemp(folder, "."+file.Name+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(file.Content)
	if err == nil {
		err = temporary.Chmod(0o644) // CreateTemp makes 0600, whatever the umask
	}
	if err == nil {
		err = temporary.Sync()
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), file.Path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes a rename in folder last.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// next returns the commands that put the files into force. systemd-sysusers is
// given its one file, since others are not ours to apply.
func next(scope Scope, files []File, actions []Action) []string {
	systemctl := "systemctl"
	var commands []string
	if scope == User {
		systemctl = "systemctl --user"
	} else {
		commands = append(commands, "systemd-sysusers marianned.conf")
	}
	commands = append(commands,
		systemctl+" daemon-reload",
		systemctl+" enable --now marianned.socket")
	replaced := map[string]bool{}
	for i, file := range files {
		replaced[file.Name] = actions[i] == Replaced
	}
	switch {
	case replaced["marianned.socket"]:
		// Takes the service along; clients that wait in the old socket are refused.
		commands = append(commands, systemctl+" restart marianned.socket")
	case replaced["marianned.service"]:
		// The service only: its socket keeps the clients that wait.
		commands = append(commands, systemctl+" try-restart marianned.service")
	}
	if replaced["marianned-exec.socket"] {
		commands = append(commands, systemctl+" try-restart marianned-exec.socket")
	}
	return commands
}
