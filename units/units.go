package units

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// DefaultBinary is where a package installs the daemon, and the path in the
// embedded units.
const DefaultBinary = "/usr/bin/marianned"

//go:embed system user sysusers.d
var embedded embed.FS

// Scope is whose service manager runs the daemon. The zero value is [System].
type Scope int

const (
	System Scope = iota // the system's, as a user of its own
	User                // the calling user's (systemctl --user)
)

func (s Scope) String() string {
	switch s {
	case System:
		return "system"
	case User:
		return "user"
	}
	return fmt.Sprintf("Scope(%d)", int(s))
}

// Params are what differs between two installations.
type Params struct {
	// Binary is the absolute path of the daemon's binary, as os.Executable
	// returns it. Empty means [DefaultBinary].
	Binary string

	// ConfigHome is the folder below which a user's units go, as
	// <ConfigHome>/systemd/user. Empty means $XDG_CONFIG_HOME where that is an
	// absolute path, else ~/.config. The system's units do not use it.
	ConfigHome string
}

// File is one file of an installation.
type File struct {
	Name    string // "marianned.service"; the last element of Path
	Path    string // where an installation by hand puts it, absolute
	Content []byte // the caller's own
}

// Files returns the files of scope, in the order in which they are installed.
// It reads the environment where [Params].ConfigHome is empty, and no file.
//
// The paths are those for files that an operator adds (systemd.unit(5), "UNIT
// FILE LOAD PATH"; sysusers.d(5)): /etc/systemd/system, /etc/sysusers.d, and a
// user's own folder. The error is about Params.Binary, when no unit can name it
// (systemd.service(5), "COMMAND LINES") or when the sandbox of the service would
// hide it, or about a home that is not known.
func Files(scope Scope, params Params) ([]File, error) {
	binary := params.Binary
	if binary == "" {
		binary = DefaultBinary
	}
	executable, err := quoteExecutable(binary)
	if err != nil {
		return nil, err
	}
	type source struct{ embedded, folder string }
	var sources []source
	switch scope {
	case System:
		if err := checkVisible(binary); err != nil {
			return nil, err
		}
		const folder = "/etc/systemd/system"
		// The user first: the socket's group must exist when the socket starts.
		sources = []source{
			{"sysusers.d/marianned.conf", "/etc/sysusers.d"},
			{"system/marianned.socket", folder},
			{"system/marianned.service", folder},
			{"system/marianned-exec.socket", folder},
			{"system/marianned-exec@.service", folder},
		}
	case User:
		home, err := configHome(params.ConfigHome)
		if err != nil {
			return nil, err
		}
		folder := filepath.Join(home, "systemd", "user")
		sources = []source{
			{"user/marianned.socket", folder},
			{"user/marianned.service", folder},
		}
	default:
		return nil, fmt.Errorf("units: found %v, expected units.System or units.User", scope)
	}
	var files []File
	for _, source := range sources {
		content, err := embedded.ReadFile(source.embedded)
		if err != nil {
			return nil, err
		}
		name := path.Base(source.embedded)
		files = append(files, File{
			Name:    name,
			Path:    filepath.Join(source.folder, name),
			Content: render(content, executable),
		})
	}
	return files, nil
}

// render puts executable, already quoted, in the place of the default binary in
// every Exec…= line.
func render(content []byte, executable string) []byte {
	lines := bytes.SplitAfter(content, []byte("\n"))
	for i, line := range lines {
		key, command, found := bytes.Cut(line, []byte("="))
		if !found || !bytes.HasPrefix(key, []byte("Exec")) {
			continue
		}
		if arguments, found := bytes.CutPrefix(command, []byte(DefaultBinary+" ")); found {
			lines[i] = fmt.Appendf(nil, "%s=%s %s", key, executable, arguments)
		}
	}
	return bytes.Join(lines, nil)
}

// configHome applies the XDG Base Directory Specification: a relative path in
// the variable is to be ignored.
func configHome(given string) (string, error) {
	if given != "" {
		if !filepath.IsAbs(given) {
			return "", fmt.Errorf("units: the configuration home is %q, expected an absolute path", given)
		}
		return given, nil
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", errors.New("units: the user's home is not known: $HOME holds no absolute path; " +
			"set HOME or XDG_CONFIG_HOME")
	}
	return filepath.Join(home, ".config"), nil
}
