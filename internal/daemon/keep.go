package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/rpc"
)

// The names under which the service manager keeps connections for the next
// process, and their manifest.
const (
	storedConnection = activation.StoredPrefix + "connection"
	storedManifest   = activation.StoredPrefix + "manifest"
)

// barrierTimeout is how long the service manager may take to take in what it was
// told.
const barrierTimeout = 5 * time.Second

// keptShare is which part of MaxBufferedBytes the input that is handed over may
// have: for a moment it is in memory twice, and the file with it is the next
// process's until it has been read.
const keptShare = 4

// handOver ends the server as Shutdown does, and leaves the connections to the
// service manager. It runs beside the goroutine that waits for the end of a drain.
func (l *lifecycle) handOver(ctx context.Context) error {
	kept, err := l.server.Handover(ctx, l.server.CurrentLimits().MaxBufferedBytes/keptShare)
	defer func() {
		for _, k := range kept {
			_ = k.Conn.Close() // the service manager has duplicates of those that it keeps
		}
	}()
	if n, keepErr := l.keep(kept); keepErr != nil {
		l.log.WithError(keepErr).WithField("connections", len(kept)).Error("the connections are closed: the service manager can not keep them")
		_ = l.forget() // that it failed is known already
	} else if n > 0 {
		l.log.WithField("connections", n).Info("left to the next start")
	}
	return err
}

// keep gives connections to the service manager, with a manifest, and returns how
// many.
func (l *lifecycle) keep(all []rpc.Kept) (int, error) {
	if limit, known := l.notify.StoreLimit(); known && len(all) >= limit {
		l.log.WithField("connections", len(all)-(limit-1)).
			Warnf("connections are closed: FileDescriptorStoreMax= of the unit is %d, expected at least one more than the connections", limit)
		all = all[:limit-1]
	}
	var conns []syscall.Conn
	var described []keptConnection
	for _, k := range all {
		conn, cookie, err := cookieOf(k.Conn)
		if err != nil {
			return 0, err
		}
		conns, described = append(conns, conn), append(described, describeKept(k, cookie))
	}
	if len(conns) == 0 {
		return 0, nil
	}
	file, err := writeManifest(described)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := l.notify.Store(storedManifest, file); err != nil {
		return 0, err
	}
	for _, conn := range conns {
		if err := l.notify.Store(storedConnection, conn); err != nil {
			return 0, err
		}
	}
	// What the service manager has not taken in when we end, it refuses.
	return len(conns), l.notify.Barrier(barrierTimeout)
}

func cookieOf(c net.Conn) (syscall.Conn, uint64, error) {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return nil, 0, fmt.Errorf("a connection is a %T, expected one with a descriptor", c)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var cookie uint64
	var sockErr error
	err = raw.Control(func(fd uintptr) { cookie, sockErr = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) })
	if sockErr != nil {
		err = fmt.Errorf("SO_COOKIE: %w", sockErr)
	}
	return conn, cookie, err
}

// forget has the service manager close what it keeps: nobody shall wait for an
// answer on a connection that nobody will read.
func (l *lifecycle) forget() error {
	return errors.Join(l.notify.Unstore(storedConnection), l.notify.Unstore(storedManifest), l.notify.Barrier(barrierTimeout))
}

// takeUp goes on with the connections that the last process has left.
func (l *lifecycle) takeUp() {
	if len(l.stored) == 0 {
		return
	}
	files := l.stored
	l.stored = nil
	defer func() {
		for _, file := range files {
			_ = file.Close() // the connections are duplicates
		}
	}()
	// First of all: what is still in the store when this process ends before its
	// time would be handled once more by the next.
	kept, err := map[uint64]keptConnection(nil), l.forget()
	if err == nil {
		kept, err = manifestIn(files)
	}
	if err != nil {
		l.log.WithError(err).WithField("connections", connectionsIn(files)).Warn("connections that the last process has left are closed")
		return
	}
	var taken []placed
	for _, file := range files {
		if file.Name() != storedConnection {
			continue
		}
		k, err := keptIn(file, kept)
		if err != nil {
			l.log.WithError(err).Warn("a connection that the last process has left is closed")
			continue
		}
		taken = append(taken, k)
	}
	l.log.WithField("connections", len(taken)).Info("goes on with what the last process has left")
	// The service manager may return them in another order, and who was first keeps
	// its place where there are fewer now.
	slices.SortFunc(taken, func(a, b placed) int { return cmp.Compare(a.place, b.place) })
	for _, k := range taken {
		l.server.Adopt(k.Kept)
	}
}

func connectionsIn(files []*os.File) (n int) {
	for _, file := range files {
		if file.Name() == storedConnection {
			n++
		}
	}
	return n
}

func manifestIn(files []*os.File) (map[uint64]keptConnection, error) {
	for _, file := range files {
		if file.Name() == storedManifest {
			kept, err := readManifest(file)
			if err != nil {
				return nil, fmt.Errorf("the manifest of connections is not understood: %w", err)
			}
			return kept, nil
		}
	}
	return nil, errors.New("there is no manifest of connections")
}

// placed is a connection with its place in the manifest.
type placed struct {
	rpc.Kept
	place int
}

// keptIn returns the connection in a file, which remains to be closed.
func keptIn(file *os.File, kept map[uint64]keptConnection) (placed, error) {
	conn, err := net.FileConn(file)
	if err != nil {
		return placed{}, err
	}
	_, cookie, err := cookieOf(conn)
	c, known := kept[cookie]
	if err == nil && !known {
		err = errors.New("it is not in the manifest")
	}
	var peer *rpc.Peer
	if err == nil {
		peer, err = rpc.PeerOf(conn)
	}
	if err != nil {
		_ = conn.Close() // err says why
		return placed{}, err
	}
	c.completes(peer)
	return placed{rpc.Kept{Conn: conn, Peer: peer, Input: c.input}, c.place}, nil
}
