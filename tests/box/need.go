package box

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// programs are what a box is made and entered with, and the Debian packages that
// they are in.
var programs = []struct{ name, debian string }{
	{"systemd-nspawn", "systemd-container"},
	{"systemctl", "systemd"},
	{"dbus-daemon", "dbus"}, // by which logind, and so a user's manager, is reached
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
	{"setpriv", "util-linux"},
}

// need says what is missing for a box over lower, as the reason of a skip; "" for
// nothing.
func need(lower string) string {
	if os.Geteuid() != 0 {
		return "needs root: a box has a systemd of its own as PID 1"
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program.name); err != nil {
			return fmt.Sprintf("needs %s: apt-get install %s", program.name, program.debian)
		}
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("needs CAP_SYS_ADMIN, which root has not got in this container: %s", bytes.TrimSpace(out))
	}
	if lower == HostRoot {
		if apart("/usr") || apart("/etc") {
			return "needs a root file system that holds /usr and /etc: it is what the box sees"
		}
	}
	hierarchy, err := cgroupHierarchy()
	if err != nil {
		return "needs cgroup v2: " + err.Error()
	}
	if err := unix.Access(hierarchy, unix.W_OK); err != nil {
		return fmt.Sprintf("needs a cgroup hierarchy that can be written: %s: %v", hierarchy, err)
	}
	return ""
}

// apart says whether folder is on another file system than its parent.
func apart(folder string) bool {
	var here, above unix.Stat_t
	return unix.Stat(folder, &here) == nil && unix.Stat(filepath.Dir(folder), &above) == nil && here.Dev != above.Dev
}
