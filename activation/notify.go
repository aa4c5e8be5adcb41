package activation

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	// MaxStatusBytes bounds a STATUS text; the rest is cut off. The service
	// manager drops whole messages over 4096 bytes, READY=1 included.
	MaxStatusBytes = 2048

	notifyTimeout = 5 * time.Second
)

// Notifier speaks sd_notify(3). A nil *Notifier, and one of a process that no
// service manager listens to, does nothing and returns nil. It is safe for
// concurrent use.
//
// Not promised: that the service manager has read a message when a method
// returns, or that it believes it (NotifyAccess= in systemd.service(5)).
type Notifier struct {
	mu   sync.Mutex
	addr *unix.SockaddrUnix // nil: nobody listens, or closed
	fd   int                // kept open: STOPPING=1 must get out when descriptors have run out

	watchdog time.Duration
	storeMax int // -1: not known
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID and FDSTORE and
// unsets them, so that no child speaks in our name. An address that we cannot speak
// to is ErrConfig: the service manager would wait for READY=1 in vain.
func NewNotifier() (*Notifier, error) {
	address := takeenv("NOTIFY_SOCKET")
	storeMax := storeLimit(takeenv("FDSTORE"))
	watchdog, err := watchdogInterval(takeenv("WATCHDOG_USEC"), takeenv("WATCHDOG_PID"))
	if err != nil {
		return nil, err
	}
	if address == nil || *address == "" {
		return &Notifier{fd: -1}, nil
	}
	if err := checkNotifyAddress(*address); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket to the service manager: %w", err)
	}
	// A service manager that hangs must not hang us.
	timeout := unix.NsecToTimeval(notifyTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open a socket to the service manager: %w", err)
	}
	return &Notifier{addr: &unix.SockaddrUnix{Name: *address}, fd: fd, watchdog: watchdog, storeMax: storeMax}, nil
}

// checkNotifyAddress accepts the two forms of unix(7): a path, and '@' for an
// abstract name.
func checkNotifyAddress(address string) error {
	if address[0] != '/' && address[0] != '@' {
		return refuse(ErrConfig, "NOTIFY_SOCKET is %q, expected an absolute path, or a name after '@': "+
			"leave it to the service manager", address)
	}
	if len(address) > MaxPathBytes || len(address) == 1 {
		return refuse(ErrConfig, "NOTIFY_SOCKET is %q (%d bytes), expected 2 to %d bytes: "+
			"leave it to the service manager", address, len(address), MaxPathBytes)
	}
	return nil
}

// watchdogInterval follows sd_watchdog_enabled(3); nil means absent.
func watchdogInterval(usec, pid *string) (time.Duration, error) {
	if usec == nil {
		return 0, nil
	}
	if pid != nil {
		id, err := parseDecimal(*pid)
		if err != nil || id == 0 {
			return 0, refuse(ErrConfig, "WATCHDOG_PID is %q, expected a process id: leave it to the service manager", *pid)
		}
		if id != uint64(os.Getpid()) {
			return 0, nil
		}
	}
	const most = uint64(1<<63-1) / uint64(time.Microsecond)
	n, err := parseDecimal(*usec)
	if err != nil || n == 0 || n > most {
		return 0, refuse(ErrConfig, "WATCHDOG_USEC is %q, expected microseconds, from 1: leave it to the service manager", *usec)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Enabled reports whether a service manager listens.
func (n *Notifier) Enabled() bool {
	if n == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr != nil
}

// WatchdogInterval returns how long the service manager waits for a WATCHDOG=1
// before it ends us (WatchdogSec=), or 0 if it does not wait.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Ready says that the service is started, with a STATUS text unless it is "".
func (n *Notifier) Ready(status string) error {
	return n.send(withStatus("READY=1", status))
}

// Reloading says that the service has begun to read its configuration anew. Ready
// ends that, whatever came of it.
func (n *Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("clock_gettime: %w", err)
	}
	// The service manager waits for ever without the time, which tells it to
	// which reload a READY=1 belongs, sd_notify(3).
	return n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping says that the service has begun to stop, which is final, with a
// STATUS text unless it is "".
func (n *Notifier) Stopping(status string) error {
	return n.send(withStatus("STOPPING=1", status))
}

// Watchdog says that the service is alive. The service manager wants to hear that
// within each WatchdogInterval, better twice.
func (n *Notifier) Watchdog() error { return n.send("WATCHDOG=1") }

// ExtendTimeout asks the service manager to wait longer than it meant to for what
// is under way, a start, a reload or a stop: by so much from now on, in whole
// microseconds. It wants to hear it again before that has passed.
func (n *Notifier) ExtendTimeout(by time.Duration) error {
	return n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()))
}

// Status sets the text that systemctl status shows; "" clears it. It is made
// one line, valid UTF-8, and at most MaxStatusBytes long.
func (n *Notifier) Status(status string) error {
	return n.send("STATUS=" + oneLine(status))
}

// Failed says why the service fails. errno 0 leaves the number out.
func (n *Notifier) Failed(errno syscall.Errno, status string) error {
	if errno == 0 {
		return n.Status(status)
	}
	return n.send(withStatus(fmt.Sprintf("ERRNO=%d", int(errno)), status))
}

// Close gives back the descriptor; afterwards the Notifier does nothing.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addr == nil {
		return nil
	}
	n.addr = nil
	return unix.Close(n.fd)
}

// send sends one datagram, which the service manager takes as a whole, with
// duplicates of descriptors. The socket is not connected: the service manager may
// have made its own anew after a daemon-reexec.
func (n *Notifier) send(state string, fds ...int) error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addr == nil {
		return nil
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(n.fd, []byte(state), rights, n.addr, unix.MSG_NOSIGNAL)
		if err == unix.EINTR { // not restarted by itself where SO_SNDTIMEO is set, signal(7)
			continue
		}
		if err != nil {
			return fmt.Errorf("notify the service manager at %s: %w", n.addr.Name, err)
		}
		return nil
	}
}

func withStatus(state, status string) string {
	if status == "" {
		return state
	}
	return state + "\nSTATUS=" + oneLine(status)
}

// oneLine makes of a text what a STATUS can hold: a newline would begin the
// next assignment, and a STATUS that is not UTF-8 is ignored.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= MaxStatusBytes {
		return text
	}
	end := MaxStatusBytes
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
