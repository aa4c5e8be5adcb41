package activation

import (
	"errors"
	"net"
	"sync"
)

// The names that a socket can have: FileDescriptorName= of its .socket unit.
const (
	NameRPC   = "rpc"   // the socket for everybody; there always is one
	NameAdmin = "admin" // a second one, for operators; only ever inherited
)

// Socket is one listening Unix stream socket.
type Socket struct {
	Name      string            // NameRPC or NameAdmin; a bound socket is NameRPC
	Path      string            // the path that clients connect to
	Inherited bool              // the service manager's; false: bound by us
	Listener  *net.UnixListener // never unlinks by itself

	node *node // nil for an inherited socket
	lock *lock // nil for an inherited socket

	closing  sync.Once
	closeErr error
}

// Close stops listening. The node of a bound socket is removed if it is still
// the one that Bind made; another file at the path is left alone, and that is
// no error. The lock file stays, unlocked and empty. Of an inherited socket
// only our descriptor is closed: the service manager goes on listening, and
// what waits in the backlog is for the next start.
//
// Listener may be closed before, by whoever serves it: the lock is then held
// until Close, so that no second daemon starts while the first one drains.
// Close is safe for concurrent use; later calls return what the first returned.
func (s *Socket) Close() error {
	s.closing.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Socket) close() error {
	var errs []error
	if s.node != nil {
		// Before the listener is closed: a client that comes now finds no
		// file, instead of connecting to a backlog that nobody will accept.
		errs = append(errs, s.node.remove())
		s.node.close()
		s.node.at.close()
	}
	if err := s.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		errs = append(errs, err)
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}
