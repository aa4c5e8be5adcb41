package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// rootVariable is the environment variable that names another root.
const rootVariable = "MARIANNED_BOX_ROOT"

// HostRoot is the root of the host, for BootRoot.
const HostRoot = "/"

// defaultRoot is what Boot's box is over.
func defaultRoot() string {
	if root := os.Getenv(rootVariable); root != "" {
		return root
	}
	return HostRoot
}

// target is what the box boots to: systemd's own sockets, with the bus, and those
// that a test has enabled.
const target = `[Unit]
Description=The box is up
Requires=sysinit.target
Wants=sockets.target
After=sysinit.target sockets.target
AllowIsolate=yes
`

// journald keeps all lines of a long run, in memory.
const journald = `[Journal]
Storage=volatile
RuntimeMaxUse=1G
RateLimitIntervalSec=0
`

// mountRoot mounts the root of a box, over lower, on folder, in the mount
// namespace of the calling thread, and returns its path.
func mountRoot(lower, folder string) (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("box", folder, "tmpfs", 0, "mode=0755,size=4g"); err != nil {
		return "", fmt.Errorf("mount a tmpfs on %s: %w", folder, err)
	}
	upper, work, root := filepath.Join(folder, "upper"), filepath.Join(folder, "work"), filepath.Join(folder, "root")
	for _, path := range []string{upper, work, root} {
		if err := os.Mkdir(path, 0o755); err != nil {
			return "", err
		}
	}
	err := unix.Mount("box", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
	if err != nil {
		return "", fmt.Errorf("mount an overlay over %s: %w", lower, err)
	}
	return root, furnish(root)
}

// furnish makes of a copy of the host the root of a machine of its own, without
// the host's services and units.
func furnish(root string) error {
	for _, path := range []string{
		"etc/systemd", // units, links that enable some, settings of the manager
		"etc/sysusers.d/marianned.conf",
		"usr/lib/systemd/system/marianned.service", "usr/lib/systemd/system/marianned.socket",
		"usr/lib/systemd/user/marianned.service", "usr/lib/systemd/user/marianned.socket",
		"var/lib/systemd/linger", // users whose managers start at boot
		"var/log/journal",
		"usr/sbin/policy-rc.d", // tells packages to start no service, where the host is a container itself
	} {
		if err := os.RemoveAll(filepath.Join(root, path)); err != nil {
			return err
		}
	}
	for path, content := range map[string]string{
		"etc/machine-id":                     "", // systemd makes one
		"etc/hostname":                       "box\n",
		"etc/fstab":                          "",
		"etc/systemd/system/box.target":      target,
		"etc/systemd/journald.conf.d/b.conf": journald,
	} {
		path = filepath.Join(root, path)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // may be a link, to be replaced, not followed
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
