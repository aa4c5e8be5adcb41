package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// SystemSocket is where the system's daemon listens.
	SystemSocket = "/run/marianned/marianned.sock"

	// SocketVariable names the environment variable that stands in for --socket.
	SocketVariable = "MARIANNED_SOCKET"

	belowRuntimeDir = "marianned/marianned.sock"
)

// AskedSocket returns the path that was asked for: flag (--socket), else
// $MARIANNED_SOCKET, else "".
func AskedSocket(flag string) string {
	if flag != "" {
		return flag
	}
	return os.Getenv(SocketVariable)
}

// DefaultServeSocket returns where a daemon listens that was told nothing:
// SystemSocket as root, else the user's own. Where there is no folder
// for the user's own, it fails with an ErrInvalid.
func DefaultServeSocket() (string, error) {
	if os.Geteuid() == 0 {
		return SystemSocket, nil
	}
	return userSocket()
}

// userSocket returns where a user's own daemon listens.
func userSocket() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) { // a relative one must be ignored, XDG Base Directory Specification
		return "", Errorf("no place for the socket: XDG_RUNTIME_DIR is %q, expected an absolute path: "+
			"log in so that there is one (pam_systemd(8)), or name the socket with --socket or $%s", dir, SocketVariable)
	}
	return filepath.Join(dir, belowRuntimeDir), nil
}

// ClientSocket returns where a client finds its daemon: flag (--socket), else
// $MARIANNED_SOCKET, else the user's own socket if it exists, else
// SystemSocket. That a daemon listens there is not promised.
func ClientSocket(flag string) string {
	if asked := AskedSocket(flag); asked != "" {
		return asked
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		if path := filepath.Join(dir, belowRuntimeDir); isOwnSocket(path) {
			return path
		}
	}
	return SystemSocket
}

// isOwnSocket reports whether path is a socket of this user. sudo can leave
// XDG_RUNTIME_DIR to root: what another user serves there is not root's own.
func isOwnSocket(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == uint32(os.Geteuid())
}
