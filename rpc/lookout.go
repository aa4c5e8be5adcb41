package rpc

import (
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lookout has the runtime look for input on connections. By itself it does so when
// a processor has nothing to run, and 100 times a second: where a crowd keeps all of
// them busy, the call of a client that was idle would wait for that.
//
// It waits for a file that is about to become readable, which it is not before the
// runtime has looked. The zero value is ready for use.
type lookout struct {
	mu     sync.Mutex // held by who looks
	event  *os.File   // eventfd(2)
	next   time.Time  // when to look again
	closed bool
}

// lookInterval is from one look to the next, at least; more where a look takes
// long, since all processors had other things to run.
const lookInterval = time.Millisecond

// look waits until the runtime has looked, if it is time and nobody else does.
func (l *lookout) look() {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	began := time.Now()
	if began.Before(l.next) || !l.open() {
		return
	}
	raw, err := l.event.SyscallConn()
	if err != nil {
		return
	}
	looked := true
	_ = raw.Read(func(fd uintptr) bool { // fails once it is closed
		looked = !looked
		if !looked {
			var one [8]byte
			binary.NativeEndian.PutUint64(one[:], 1)
			_, err := unix.Write(int(fd), one[:]) // is an edge for epoll(7), whatever the count was
			return err != nil
		}
		return true
	})
	now := time.Now()
	l.next = now.Add(max(lookInterval, 4*now.Sub(began)))
}

// open reports whether there is a file. That there is none for want of descriptors
// costs others no more than they had to wait before.
func (l *lookout) open() bool {
	if l.event == nil && !l.closed {
		if fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err == nil {
			l.event = os.NewFile(uintptr(fd), "eventfd")
		}
	}
	return l.event != nil
}

func (l *lookout) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.event != nil {
		_ = l.event.Close()
		l.event = nil
	}
}
