package rpc

import (
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// getsockoptGroups reads SO_PEERGROUPS, an array of gid_t, which x/sys/unix has
// no wrapper for (its GetsockoptString would stop at the length of a string).
func getsockoptGroups(fd, n int) ([]uint32, error) {
	groups := make([]uint32, n)
	size := uint32(n) * 4
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil, errno
	}
	return slices.Clone(groups[:size/4]), nil // a connection's lifetime is long for what was not used
}
