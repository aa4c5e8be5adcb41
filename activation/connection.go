package activation

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// InheritConnection returns the one connection that a service started with
// Accept=yes is for (systemd.socket(5)), a Unix stream. Anything else is ErrConfig.
// As Inherit does, it unsets the LISTEN_ variables and closes what was passed,
// of which the connection is a duplicate: call it once, early in main.
func InheritConnection() (*net.UnixConn, error) {
	env := takeListenEnv()
	ours, err := env.isOurs()
	if err != nil {
		return nil, err
	}
	if !ours {
		return nil, refuse(ErrConfig, "no connection was passed to this process, expected one: "+
			"it is started by a .socket unit that says Accept=yes")
	}
	count, err := env.count()
	defer closePassed(count)
	if err != nil {
		return nil, err
	}
	if count != 1 || !wasPassed(firstInherited) {
		return nil, refuse(ErrConfig, "%d file descriptors were announced, expected one connection: the .socket unit must say Accept=yes", count)
	}
	kind, err := unix.GetsockoptInt(firstInherited, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && kind == unix.SOCK_STREAM {
		_, err = unix.Getpeername(firstInherited)
	}
	if err != nil || kind != unix.SOCK_STREAM {
		return nil, refuse(ErrConfig, "inherited file descriptor %d is no stream connection (%v): the .socket unit must say Accept=yes and ListenStream=", firstInherited, err)
	}
	fd, err := unix.FcntlInt(firstInherited, unix.F_DUPFD_CLOEXEC, firstInherited+1)
	if err != nil {
		return nil, fmt.Errorf("duplicate the connection: %w", err)
	}
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("inherited connection: %w", err)
	}
	if c, ok := conn.(*net.UnixConn); ok {
		return c, nil
	}
	conn.Close()
	return nil, refuse(ErrConfig, "the inherited connection is a %T, expected one of a Unix socket: the .socket unit must say ListenStream=/an/absolute/path", conn)
}
