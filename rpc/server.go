package rpc

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// Server serves newline-delimited JSON-RPC 2.0 on Unix sockets. Its exported
// fields must not be changed after the first call of Serve. The zero value,
// with Methods set, is ready to use.
//
// Requests of one connection start in the order they came; replies leave in
// any order. Nothing is promised about order between connections.
type Server struct {
	// Methods are what can be called, besides rpc.cancel; nil for none.
	Methods *Methods
	// Limits bounds what clients can consume; zero fields mean defaults.
	Limits Limits
	// Logger takes what the server has to say; nil for silence. Params and
	// results are never logged.
	Logger logrus.FieldLogger
	// Authorize, if set, is asked before each call: nil lets it through,
	// ErrHidden answers as if the method did not exist, an *Error is answered
	// as it is, and any other error answers CodeNotAuthorized and is logged.
	// It runs on the goroutine that reads the connection, and must neither block
	// nor end it (runtime.Goexit); a panic is logged, and answered as that of a
	// handler is.
	Authorize func(peer *Peer, method *Method) error
	// Identify, if set, adds to what is known of the peer of a connection that l
	// has accepted and that is not refused, before anything is read from it. With
	// an error the connection is closed. It runs in the accept loop and must be quick.
	Identify func(l net.Listener, nc net.Conn, peer *Peer) error
	// SpareThreads lets the server raise runtime.GOMAXPROCS by 4 while there is more to
	// do than the processors can, so that the kernel does not let those who have little
	// to do wait as long as those who have much. It is for a program which leaves that
	// to the runtime: it has its default again afterwards, perhaps a moment after
	// Close has returned. Where the environment variable GOMAXPROCS is set, nothing is
	// changed.
	SpareThreads bool

	once      sync.Once
	invalid   error // what Validate said of Limits
	adm       *admission
	bootID    string // tells the requests of this server from those of the last
	requests  atomic.Uint64
	sweeper   sweeper
	swept     []*conn // of sweep, to spare it allocations; guarded by sweeper.mu
	sweptConn uint64  // lastConn at the last sweep; guarded by sweeper.mu
	watchers  watchers
	replaced  atomic.Pointer[Methods] // by SetMethods
	relieving sync.Mutex              // held by who closes connections to free memory
	// relieveAgain is set while that is to be looked at again; guarded by relieving.
	relieveAgain *time.Timer
	quota        logQuota
	// front is for handling messages in a crowd, looking for large ones.
	front, looking crowd
	lookout        lookout
	// sendBuffers is how many connections have a large one.
	sendBuffers atomic.Int32
	done        chan struct{} // closed when the server ends

	// handing is set, and handover closed, when the connections are to be handed
	// over; keepable is how many bytes of input more may be.
	handing  atomic.Bool
	handover chan struct{}
	keepable atomic.Int64

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	lastConn  uint64
	idleSince time.Time
	draining  bool // no more connections
	closed    bool
	// pausing asks the accept loops to stand still; parked is how many do.
	pausing  bool
	parked   int
	changed  *sync.Cond // of pausing, parked, closed, listeners
	connGone chan struct{}
}

func (s *Server) init() {
	s.once.Do(func() {
		s.invalid = s.Limits.Validate()
		s.adm = newAdmission(s.Limits)
		id := make([]byte, 4)
		_, _ = rand.Read(id) // never fails, crypto/rand
		s.bootID = hex.EncodeToString(id)
		s.sweeper.init(s.sweep, s.front.queued, processThreads.without(), s.spareFunc())
		s.done = make(chan struct{})
		s.handover = make(chan struct{})
		s.listeners = make(map[net.Listener]struct{})
		s.conns = make(map[*conn]struct{})
		s.idleSince = time.Now()
		s.changed = sync.NewCond(&s.mu)
		s.connGone = make(chan struct{}, 1)
		s.front.places = max(1, s.sweeper.processors-1)
		s.looking.places = max(1, s.sweeper.processors/2)
		s.looking.strict = true // a single large message takes as long as those of many
		go func() {
			s.sweeper.run(s.done)
			s.lookout.close()
			s.front.end()
			s.looking.end()
		}()
	})
}

var silent = func() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.PanicLevel)
	return l
}()

func (s *Server) logger() logrus.FieldLogger {
	if s.Logger == nil {
		return silent
	}
	return s.Logger
}

// SetMethods replaces Methods from the next call on; nil for none. Calls that
// run or are queued go on with the method they began with. It may be called at
// any time.
func (s *Server) SetMethods(ms *Methods) {
	if ms == nil {
		ms = new(Methods)
	}
	s.replaced.Store(ms)
}

// SetLimits replaces Limits at once; the values of zero fields are the
// defaults. It fails, and changes nothing, where Validate does. Nobody is
// dropped: connections, calls and streams beyond a new bound stay until they
// end, timeouts that run keep their length, and a connection that waits for its
// next message handles that one. It may be called at any time.
func (s *Server) SetLimits(limits Limits) error {
	if err := limits.Validate(); err != nil {
		return err
	}
	s.init()
	guests, calls := s.adm.setLimits(limits)
	for _, g := range guests {
		g.ready(nil)
	}
	for _, c := range calls {
		c.start()
	}
	return nil
}

// CurrentLimits returns the limits in force, without zero fields.
func (s *Server) CurrentLimits() Limits {
	s.init()
	return *s.adm.limits.Load()
}

func (s *Server) lookup(known *lookup, name []byte) *Method {
	ms := s.replaced.Load()
	if ms == nil {
		ms = s.Methods
	}
	if ms == nil {
		return nil
	}
	return known.find(ms, name)
}

func (s *Server) emitConn(kind EventKind, peer *Peer) {
	if s.watchers.active() {
		s.watchers.emit(Event{Kind: kind, Time: time.Now(), Peer: peer})
	}
}

// connLeft is called once a connection is closed and its calls have ended.
func (s *Server) connLeft(c *conn) {
	if c.guest.probe {
		return
	}
	s.mu.Lock()
	delete(s.conns, c)
	s.idleSince = time.Now()
	s.mu.Unlock()
	s.emitConn(EventConnectionClosed, c.peer)
	c.leaveSendBuffer()
	if next := s.adm.leave(c.guest); next != nil {
		next.ready(nil)
	}
	s.mu.Lock()
	s.changed.Broadcast() // an accept loop may wait for room
	s.mu.Unlock()
	s.signalConns()
}

// signalConns wakes who waits for connections to end, or to be ready for another
// server.
func (s *Server) signalConns() {
	select {
	case s.connGone <- struct{}{}:
	default:
	}
}

func (s *Server) snapshot() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// inOrder returns the connections in the order in which they got their places.
func (s *Server) inOrder() []*conn {
	conns := s.snapshot()
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.number, b.number) })
	return conns
}

// sweep looks after readers that are busy for long. The caller has sweeper.mu.
func (s *Server) sweep() (found observations) {
	s.mu.Lock()
	for c := range s.conns {
		s.swept = append(s.swept, c)
	}
	found.active = int(s.lastConn - s.sweptConn) // some of these have ended
	s.sweptConn = s.lastConn
	s.mu.Unlock()
	for _, c := range s.swept {
		active, stuck := c.sweep()
		if active {
			found.active++
		}
		found.stuck = found.stuck || stuck
	}
	clear(s.swept)
	s.swept = s.swept[:0]
	return found
}

// Stats returns the server's counters.
func (s *Server) Stats() Stats {
	s.init()
	st := s.adm.stats()
	st.TotalRequests = s.requests.Load()
	return st
}

// IdleSince returns when the last connection ended (or the server was made),
// and false if there is a connection now.
func (s *Server) IdleSince() (time.Time, bool) {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idleSince, s.adm.idle()
}
