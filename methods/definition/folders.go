package definition

import (
	"os"
	"path/filepath"
)

// SystemFolders are those of the system's daemon: a file hides those of the
// same name in later ones.
var SystemFolders = []string{
	"/etc/marianned/methods.d",
	"/run/marianned/methods.d",
	"/usr/lib/marianned/methods.d",
}

// UserFolders returns the folder of a user's own daemon, below $XDG_CONFIG_HOME
// (XDG Base Directory Specification), or nil where that is unknown.
func UserFolders() []string {
	config, err := os.UserConfigDir()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(config, "marianned", "methods.d")}
}
