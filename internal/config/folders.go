package config

import (
	"os"
	"path/filepath"
)

const (
	mainFile     = "marianned.toml"
	dropInFolder = "conf.d"
)

// SystemFolders hold the configuration of the system's daemon: a file hides
// those of the same name in later ones.
var SystemFolders = []string{"/etc/marianned", "/run/marianned", "/usr/lib/marianned"}

// UserFolders returns the folder of a user's own daemon, below $XDG_CONFIG_HOME
// (XDG Base Directory Specification), or none where that is unknown.
func UserFolders() []string {
	home, err := os.UserConfigDir()
	if err != nil {
		return []string{}
	}
	return []string{filepath.Join(home, "marianned")}
}

// DefaultFolders returns those of the daemon that this process is, or would be.
func DefaultFolders() []string {
	if IsUserInstance() {
		return UserFolders()
	}
	return SystemFolders
}

// IsUserInstance says whether a daemon in this process is a user's own. The
// system's is root's, or has a user whom nobody has logged in as: systemd gives
// $XDG_RUNTIME_DIR to sessions and to what user@.service runs, pam_systemd(8).
func IsUserInstance() bool {
	return os.Geteuid() != 0 && filepath.IsAbs(os.Getenv("XDG_RUNTIME_DIR"))
}
