package peerunit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/rpc"
)

// Identify fills in the units of the peer of a connection. It fails with the
// reason why they are unknown, which peer says too then.
func Identify(nc net.Conn, peer *rpc.Peer) error {
	u, err := identify(nc, peer)
	if err != nil {
		peer.UnitUnknown = true
		return fmt.Errorf("the unit of %s: %w", peer, err)
	}
	peer.Unit, peer.UserUnit = u.system, u.user
	return nil
}

func identify(nc net.Conn, peer *rpc.Peer) (units, error) {
	if peer.PID <= 0 {
		return units{}, errors.New("its process is not in the pid namespace of this one")
	}
	pidfd, err := peerPidfd(nc, peer)
	if err != nil {
		return units{}, err
	}
	defer unix.Close(pidfd)
	text, err := readFile("/proc/" + strconv.Itoa(int(peer.PID)) + "/cgroup")
	if err != nil {
		return units{}, err
	}
	if !exists(pidfd) {
		return units{}, errors.New("its process has ended")
	}
	return parseCgroup(string(text))
}

// readFile is os.ReadFile for a file of /proc, which is read in one piece as a rule.
// Each connection has one read, and for a file that may be a pipe os.ReadFile makes
// three times as many system calls.
func readFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 512)
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return text, nil
		default:
			text = slices.Grow(text[:len(text)+n], 1)
		}
	}
}

// peerPidfd returns a pidfd of the process that has connected.
func peerPidfd(nc net.Conn, peer *rpc.Peer) (int, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("the connection is a %T, expected a Unix socket", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	pidfd, optErr := -1, error(nil)
	if err := raw.Control(func(fd uintptr) { pidfd, optErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD) }); err != nil {
		return -1, err
	}
	if errors.Is(optErr, unix.ENOPROTOOPT) {
		return pidfdByNumber(peer)
	}
	return pidfd, os.NewSyscallError("SO_PEERPIDFD", optErr)
}

// pidfdByNumber is for kernels that do not say which process it was.
func pidfdByNumber(peer *rpc.Peer) (int, error) {
	pidfd, err := unix.PidfdOpen(int(peer.PID), 0)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	info, err := os.Stat("/proc/" + strconv.Itoa(int(peer.PID)))
	if err == nil && !exists(pidfd) {
		err = errors.New("its process has ended")
	}
	if err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != peer.UID {
			err = errors.New("its pid belongs to a process of another user now")
		}
	}
	if err != nil {
		_ = unix.Close(pidfd)
		return -1, err
	}
	return pidfd, nil
}

// exists reports whether the process has not been reaped, so that its pid is
// still its own.
func exists(pidfd int) bool {
	err := unix.PidfdSendSignal(pidfd, 0, nil, 0)
	return err == nil || err == unix.EPERM // which is said of a process that is there
}
