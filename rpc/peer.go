package rpc

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end of a connection, as the kernel recorded it
// when the connection was made (SO_PEERCRED and SO_PEERGROUPS, unix(7)). It is
// taken once, at accept, and never changes.
type Peer struct {
	UID uint32
	GID uint32
	// Groups are the supplementary groups, ascending. The primary group alone
	// does not tell what the peer is a member of.
	Groups []uint32
	// PID is for logs only: the kernel may give it to another process once the
	// peer has ended.
	PID int32

	// The rest is what Server.Identify knows beyond the kernel's record; "" where
	// it says nothing.

	// Socket names the listener that the peer came through.
	Socket string
	// Unit is the service of the system that the peer runs in, UserUnit that of
	// a user's service manager.
	Unit     string
	UserUnit string
	// UnitUnknown says that it could not be found out which units those are, so
	// that "" does not mean none.
	UnitUnknown bool
}

// InGroup reports whether gid is the peer's primary or a supplementary group.
func (p *Peer) InGroup(gid uint32) bool {
	return p.GID == gid || slices.Contains(p.Groups, gid)
}

// String returns "uid 1000 pid 4711".
func (p *Peer) String() string { return fmt.Sprintf("uid %d pid %d", p.UID, p.PID) }

// peerConn is a connection that knows its peer without asking the kernel: one
// inside the process.
type peerConn interface{ Peer() (*Peer, error) }

// PeerOf returns the credentials of the process that connected. It fails for
// anything but a Unix socket and a connection that has a method
// Peer() (*Peer, error).
func PeerOf(nc net.Conn) (*Peer, error) {
	if pc, ok := nc.(peerConn); ok {
		return pc.Peer()
	}
	sc, ok := nc.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("rpc: connection is a %T, expected a Unix socket, whose peer the kernel vouches for", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("rpc: peer credentials: %w", err)
	}
	p := new(Peer)
	var sockErr error
	if err := raw.Control(func(fd uintptr) { sockErr = p.read(int(fd)) }); err != nil {
		return nil, fmt.Errorf("rpc: peer credentials: %w", err)
	}
	if sockErr != nil {
		return nil, fmt.Errorf("rpc: peer credentials: %w", sockErr)
	}
	return p, nil
}

func (p *Peer) read(fd int) error {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("SO_PEERCRED: %w", err)
	}
	p.UID, p.GID, p.PID = cred.Uid, cred.Gid, cred.Pid
	p.Groups, err = peerGroups(fd)
	if err != nil {
		return fmt.Errorf("SO_PEERGROUPS: %w", err)
	}
	slices.Sort(p.Groups)
	return nil
}

// maxGroups is NGROUPS_MAX of Linux, setgroups(2).
const maxGroups = 65536

func peerGroups(fd int) ([]uint32, error) {
	for n := 64; n <= maxGroups; n *= 32 {
		groups, err := getsockoptGroups(fd, n)
		if !errors.Is(err, syscall.ERANGE) { // ERANGE: there are more than n
			return groups, err
		}
	}
	return nil, syscall.ERANGE
}
