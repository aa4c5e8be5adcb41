package activation

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// StoredPrefix begins every name in the service manager's store: it tells what
// was stored from sockets.
const StoredPrefix = "stored-"

func isStored(name string) bool { return strings.HasPrefix(name, StoredPrefix) }

// storeLimit reads FDSTORE of systemd.exec(5), which systemd sets since version
// 254; -1 means that it is not known.
func storeLimit(text *string) int {
	if text == nil {
		return -1
	}
	n, err := parseDecimal(*text)
	if err != nil || n > maxStored {
		return -1
	}
	return int(n)
}

// StoreLimit returns how many descriptors the service manager stores for us
// (FileDescriptorStoreMax=, systemd.service(5)); known is false where it does not
// tell, as before systemd 254.
func (n *Notifier) StoreLimit() (limit int, known bool) {
	if n == nil || !n.Enabled() {
		return 0, true
	}
	return n.storeMax, n.storeMax >= 0
}

// Store gives the service manager a duplicate of a descriptor, to be passed to the
// next start of the service under that name (FDSTORE=1, sd_notify(3)), which
// begins with StoredPrefix, has no ':' and need not be unique. It is not told
// whether the service manager takes it, which has a bound: see StoreLimit. What is
// stored stays open when we close ours; a connection whose peer hangs up falls out
// of the store by itself.
func (n *Notifier) Store(name string, c syscall.Conn) error {
	if !isStored(name) || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r > '~' }) {
		return fmt.Errorf("store a descriptor as %q, expected a name that begins with %q, of printable ASCII without ':'", name, StoredPrefix)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("store a descriptor as %q: %w", name, err)
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) { sendErr = n.send("FDSTORE=1\nFDNAME="+name, int(fd)) })
	return errors.Join(err, sendErr)
}

// Unstore has the service manager forget, and close, all that was stored under a
// name.
func (n *Notifier) Unstore(name string) error {
	return n.send("FDSTOREREMOVE=1\nFDNAME=" + name)
}

// Barrier waits until the service manager has taken in all that was sent before
// (BARRIER=1, sd_notify(3)), but at most so long; it fails then with an error that
// matches os.ErrDeadlineExceeded.
func (n *Notifier) Barrier(timeout time.Duration) error {
	if !n.Enabled() {
		return nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe for a barrier: %w", err)
	}
	defer unix.Close(ends[0])
	err := n.send("BARRIER=1", ends[1])
	unix.Close(ends[1])
	if err != nil {
		return err
	}
	// The service manager closes its end in its turn.
	deadline := time.Now().Add(timeout)
	for {
		left := max(0, time.Until(deadline))
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(ends[0])}}, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("wait for the service manager: %w", err)
		case ready > 0:
			return nil
		default:
			return fmt.Errorf("the service manager has not taken in within %s what it was told: %w", timeout, os.ErrDeadlineExceeded)
		}
	}
}
