package config

import (
	"os"
	"path/filepath"
)

const (
	mainFile     = "marianned.toml"
	dropInFolder = "conf.d"
)

// Instance tells the system's daemon from a user's own.
type Instance int

const (
	// OwnInstance is the one that this process is, or would be. The system's is
	// root's, or has a user whom nobody has logged in as: systemd gives
	// $XDG_RUNTIME_DIR to sessions and to what user@.service runs, pam_systemd(8).
	OwnInstance Instance = iota
	SystemInstance
	UserInstance
)

// IsUser says whether it is a user's own daemon.
func (i Instance) IsUser() bool {
	if i == OwnInstance {
		return os.Geteuid() != 0 && filepath.IsAbs(os.Getenv("XDG_RUNTIME_DIR"))
	}
	return i == UserInstance
}

var systemFolders = []string{"/etc/marianned", "/run/marianned", "/usr/lib/marianned"}

// Folders returns where the files of its configuration are: of files of one
// name, that in the first folder which has it counts. A user's is below
// $XDG_CONFIG_HOME (XDG Base Directory Specification), or nowhere, if that is
// unknown.
func (i Instance) Folders() []string {
	if !i.IsUser() {
		return systemFolders
	}
	home, err := os.UserConfigDir()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(home, "marianned")}
}
