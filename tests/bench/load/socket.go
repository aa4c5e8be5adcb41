package load

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// dial connects a blocking socket. A full backlog answers EAGAIN at once, even
// to a blocking socket whose time is limited: then it tries again.
func dial(path string, large bool) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(silence))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	if large {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	}
	address := &unix.SockaddrUnix{Name: path}
	for deadline := now() + int64(silence); ; {
		err = unix.Connect(fd, address)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) || now() > deadline {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("connect to %s: %w", path, err)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// writeAll writes to a blocking socket.
func writeAll(fd int, text []byte) error {
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("write: %w", err)
		}
		text = text[max(n, 0):]
	}
	return nil
}

// read reads from a blocking socket.
func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, fmt.Errorf("read: %w: the server closed the connection", io.ErrUnexpectedEOF)
		case errors.Is(err, unix.EAGAIN):
			return 0, errSilence
		case !errors.Is(err, unix.EINTR):
			return 0, fmt.Errorf("read: %w", err)
		}
	}
}
