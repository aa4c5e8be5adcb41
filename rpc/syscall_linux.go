package rpc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A system call that the runtime is told of wakes its monitor, a thread that looks
// some 10,000 times a second whether one takes long, and costs more than most of
// those here. So where there is much to do, it is not told of those that are short.
//
// A handler that takes long is not missed by this: who looks for stuck readers has a
// timer, for which the monitor wakes as well. Where a client makes one call after the
// other, the runtime is told: untold, such a client got a sixth fewer replies.

// quickBytes is how many bytes are read or written at most without the runtime being
// told. It can not stop a thread that copies them.
const quickBytes = 64 << 10

// read is read(2) of a descriptor that does not block. quick says that the runtime
// need not be told.
func read(fd int, b []byte, quick bool) (int, error) {
	if !quick || len(b) == 0 || len(b) > quickBytes {
		return unix.Read(fd, b)
	}
	return rawTransfer(unix.SYS_READ, fd, b)
}

// write is write(2), as read is read(2).
func write(fd int, b []byte, quick bool) (int, error) {
	if !quick || len(b) == 0 || len(b) > quickBytes {
		return unix.Write(fd, b)
	}
	return rawTransfer(unix.SYS_WRITE, fd, b)
}

func rawTransfer(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
