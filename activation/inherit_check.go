package activation

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// listeningPath returns the path of the listening Unix stream socket behind
// fd, or an ErrConfig that says what it is instead.
func listeningPath(fd int) (string, error) {
	const unit = "the .socket unit must say ListenStream=/an/absolute/path and Accept=no"

	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", fmt.Errorf("inspect inherited file descriptor %d: %w", fd, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return "", refuse(ErrConfig, "inherited file descriptor %d is %s, expected a listening Unix stream socket: %s",
			fd, fileKind(st.Mode), unit)
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return "", fmt.Errorf("inspect inherited file descriptor %d: %w", fd, err)
	}
	if domain != unix.AF_UNIX {
		return "", refuse(ErrConfig, "inherited file descriptor %d is %s, expected a Unix socket: %s",
			fd, familyName(domain), unit)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", fmt.Errorf("inspect inherited file descriptor %d: %w", fd, err)
	}
	if kind != unix.SOCK_STREAM {
		return "", refuse(ErrConfig, "inherited file descriptor %d is a %s socket, expected a stream socket: %s",
			fd, typeName(kind), unit)
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return "", fmt.Errorf("inspect inherited file descriptor %d: %w", fd, err)
	}
	if listening == 0 {
		if _, err := unix.Getpeername(fd); err == nil {
			return "", refuse(ErrConfig, "inherited file descriptor %d is an accepted connection, as Accept=yes passes it, "+
				"expected the listening socket: the .socket unit must say Accept=no", fd)
		}
		return "", refuse(ErrConfig, "inherited file descriptor %d is a Unix stream socket that does not listen, expected a listening one: %s", fd, unit)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return "", fmt.Errorf("inspect inherited file descriptor %d: %w", fd, err)
	}
	local, ok := addr.(*unix.SockaddrUnix)
	if !ok || local.Name == "" || local.Name[0] != '/' {
		name := ""
		if ok {
			name = local.Name
		}
		return "", refuse(ErrConfig, "inherited file descriptor %d listens on %q, expected an absolute path "+
			"(an abstract socket has no permissions, unix(7)): %s", fd, name, unit)
	}
	return local.Name, nil
}

func familyName(domain int) string {
	switch domain {
	case unix.AF_INET:
		return "an IPv4 socket"
	case unix.AF_INET6:
		return "an IPv6 socket"
	case unix.AF_NETLINK:
		return "a netlink socket"
	case unix.AF_VSOCK:
		return "a vsock socket"
	}
	return fmt.Sprintf("a socket of address family %d", domain)
}

func typeName(kind int) string {
	switch kind {
	case unix.SOCK_STREAM:
		return "stream"
	case unix.SOCK_DGRAM:
		return "datagram"
	case unix.SOCK_SEQPACKET:
		return "seqpacket"
	}
	return fmt.Sprintf("type %d", kind)
}

// fileKind names the kind of a file from its st_mode, with its article.
func fileKind(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a regular file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a fifo"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	}
	return "a file of no known kind" // an anonymous inode: eventfd, epoll, pidfd ...
}
