package rpc

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// conn is one connection. It is 512 bytes large, and its reader 320, which are sizes
// that the runtime has.
//
//	reader:  fill -> frames.next -> parse -> handle -> start -> runHere (or queue) -> reply
//	writer:  answer, Stream.Send -> output -> flush
//
// One goroutine at a time has the reader's role and owns rd; see reading for
// how the role changes hands. A call that the reader runs itself and that ends
// before another takes the reading over is known to nobody else: no lock is
// taken for it, and its reply waits in rd until the reader has nothing more to
// do. One goroutine at a time writes: the one that set writing, or, what is small and
// without waiting, the one that holds mu (writeLate). Everything else is under mu, which
// is never held while a handler runs, nor during other I/O.
type conn struct {
	srv    *Server
	nc     net.Conn
	raw    syscall.RawConn // nil for a connection inside the process
	peer   *Peer
	guest  *guest // its place at the server
	number uint64
	opened time.Time

	reading  reading
	rd       *reader
	forking  sync.Mutex // held while the role is taken over
	observed uint64     // of reading, when it was last swept; guarded by sweeper.mu
	onRead   func(fd uintptr) bool
	// blind is reading, with the lowest bit set, when the reader began to wait
	// without having looked for input; or 0.
	blind atomic.Uint64

	// The writer's role.
	onWrite    func(fd uintptr) bool
	writes     pendingWrite
	sendBuffer largeSendBuffer
	writeSince atomic.Int64 // when the piece began that waits for the peer, in ns since opened; or 0

	// finishing is set when the server wants the reading to end: what has been
	// sent so far is still read and answered. aborted is set when it was closed
	// with all that runs on it.
	finishing atomic.Bool
	aborted   atomic.Bool
	// taken is how many places of MaxInFlightPerConnection are taken, without
	// those of reader.places. It changes under mu.
	taken atomic.Int32
	// unarmed says that no deadline was set on the connection since it came: the
	// sweeper sets that of the idle connection. It becomes false under mu, once that
	// is done.
	unarmed atomic.Bool
	closing chan struct{} // closed with closed
	room    chan struct{} // of capacity 1: something was given back

	// held is what the connection holds of the ledger beside large buffers for
	// input, in bytes.
	held atomic.Int64
	// unread is the part of it that is output, in bytes.
	unread atomic.Int64

	mu       sync.Mutex
	calls    []*call  // unanswered, with and without an id, but for the reader's own
	batches  []*batch // not yet answered
	streams  int      // handlers of streaming methods
	out      output
	ready    []*Stream // have something to write
	writing  bool
	flushing bool // a goroutine is about to write
	readDone bool // nothing more will be read
	gone     bool // the peer takes nothing any more
	cut      bool // the server gave up draining
	closed   bool
	left     bool // the place at the server is given back
	// parked is set when the reading has ended for another server to go on, with
	// rest first.
	parked bool
	rest   []byte
	active time.Duration // last output, since opened
	cause  error         // why it was aborted
}

// reader is the state of reading. It belongs to who has the reader's role.
type reader struct {
	frames   frameReader
	deadline time.Time // that is set on the connection
	n        int       // result of the last raw read
	err      error
	handled  int32 // since others had the processor, in parts of turn
	again    bool  // the last raw read was none: the reader has to queue up first
	brisk    bool  // several calls were read at once, or many connections have calls
	late     bool  // the reply is to be written as the reader waits
	wary     uint8 // inputs before a reply may be late again
	dirty    bool  // the connection's output has something that nobody writes

	front   position // in Server.front
	looking position // in Server.looking
	queued  bool     // waits for turn
	lease   bool     // has a slot, kept from one call for the next

	batch *batch   // whose items are being started
	items [][]byte // of batch, not yet started

	turn     chan struct{}   // says that the reader has got a place
	running  *call           // handler that runs on this goroutine
	previous <-chan struct{} // closed when the last call that got a goroutine has begun

	// out[:used] are replies that the connection's output does not have yet.
	out     *buffer
	used    int
	backlog int // bytes put there since the last flush, in all
	// places of MaxInFlightPerConnection are taken by what is in out.
	places int

	known    lookup        // of the call before
	sequence uint64        // of the last call, for its request id
	counted  uint64        // the last that is in the server's count
	contexts []callContext // not yet used
	spare    *call         // may be used again, with its context if it has one
}

var (
	errTakenOver    = errors.New("another goroutine has taken the reading over")
	errTooLarge     = errors.New("message too large")
	errFrameTimeout = errors.New("message not complete in time")
	errIdle         = errors.New("idle for too long")
	errNoMemory     = errors.New("no memory for a large message in time")
	errDraining     = errors.New("the server drains")
	errNotWritten   = errors.New("the reply could not be written late")
)

func newConn(srv *Server, nc net.Conn, g *guest, number uint64) *conn {
	now := time.Now()
	c := &conn{
		srv: srv, nc: nc, peer: g.peer, guest: g, number: number, opened: now,
		closing: make(chan struct{}),
		room:    make(chan struct{}, 1),
	}
	if sc, ok := nc.(*net.UnixConn); ok {
		c.raw, _ = sc.SyscallConn() // fails for a closed connection: the first read says so
		c.onRead, c.onWrite = c.readReady, c.writeReady
	}
	c.rd = &reader{frames: frameReader{now: now}}
	c.unarmed.Store(true)
	return c
}

// resume has the reader begin with input that another server has read.
func (c *conn) resume(input []byte) {
	if len(input) == 0 {
		return
	}
	rd := c.rd
	rd.frames.max = c.limits().MaxMessageBytes
	buf := newBuffer(len(input))
	if size := len(buf.b); size > smallestBuffer+bufferSlack {
		c.charge(size)
		buf.bill(c, grant{bytes: size})
	}
	rd.frames.resume(buf, input)
}

// age is the time since the connection was opened.
func (c *conn) age() time.Duration { return time.Since(c.opened) }

func (c *conn) limits() *Limits { return c.srv.adm.limits.Load() }

func (c *conn) log() *logrus.Entry {
	return c.srv.logger().WithFields(logrus.Fields{"conn": c.number, "uid": c.peer.UID, "pid": c.peer.PID})
}

// turn is how much a reader handles, while there is always more to read, before
// it lets others have the processor: a client that sends without a pause must
// not delay all others. A call counts for one, and for one more with each
// bytesATurn of it. Letting go is not free: the runtime wakes a thread, which
// looks for work on another processor and may well go on with this very reader
// there. So turns are short only in a crowd.
const (
	turn        = 2048
	crowdedTurn = 24
	bytesATurn  = 1 << 10
)

// run reads until the connection ends or the role is taken over.
func (c *conn) run() {
	rd := c.rd
	for {
		var err error
		if rd.handled++; rd.handled > crowdedTurn && (rd.handled > turn || c.srv.sweeper.crowded.Load()) {
			err = c.endTurn(rd)
		}
		if err == nil {
			err = c.step(rd)
		}
		if err == errTakenOver {
			c.letGo(rd)
			return
		} else if err == errHandover {
			c.park(rd)
			return
		} else if err != nil {
			c.endReading(rd, err)
			return
		}
	}
}

// flushAfter is how many replies wait for those to the next frames, at most. Each
// write wakes the client, at the price of twenty small calls: fewer at once, for
// it to begin earlier with the first of them, made 64 calls slower, not faster.
const flushAfter = 64

// step handles one item of a batch or one frame. Handlers and Authorize run, and
// the connection waits for input, in calls from here: what it takes to get that
// far must not be on the stack then, or each idle connection would need twice as
// much of it.
func (c *conn) step(rd *reader) error {
	if rd.places >= flushAfter || rd.backlog >= gatherLimit {
		if err := c.flushAsReader(rd); err != nil {
			return err
		}
	}
	if !c.hasRoom(rd) {
		if err := c.waitForRoom(rd); err != nil {
			return err
		}
	}
	var cl *call
	var read *batch // to its end
	if len(rd.items) > 0 {
		cl, read = c.handleItem(rd)
	} else if c.mustPark() {
		return errHandover
	} else {
		frame, err := c.nextFrame(rd)
		if err != nil {
			return err
		}
		if len(frame) > sharedFrame {
			c.endLease(rd) // it has to be waited for
		}
		cl = c.handleFrame(rd, frame)
	}
	here := cl != nil && c.start(rd, cl)
	if read != nil {
		read.release() // calls that were started have their own share of it
	}
	if !here {
		return nil
	}
	return c.runHere(rd, cl)
}

// handleItem handles the next item of the batch, as handle does. read is the
// batch, if that was its last.
//
//go:noinline
func (c *conn) handleItem(rd *reader) (cl *call, read *batch) {
	b, item := rd.batch, rd.items[0]
	if rd.items = rd.items[1:]; len(rd.items) == 0 {
		rd.batch, rd.items = nil, nil
		read = b
	}
	var env envelope
	c.beginLook(rd, len(item))
	_ = parseEnvelope(item, &env) // its syntax was checked with the batch
	c.endLook(rd)
	c.takeTurn(rd)
	return c.handle(rd, &env, b), read
}

// handleFrame handles one frame, as handle does.
//
//go:noinline
func (c *conn) handleFrame(rd *reader, frame []byte) *call {
	c.beginLook(rd, len(frame))
	if frame[skipSpace(frame, 0)] == '[' {
		c.beginBatch(rd, frame)
		return nil
	}
	var env envelope
	serr := parseEnvelope(frame, &env)
	c.endLook(rd)
	c.takeTurn(rd)
	if serr != nil {
		c.refuse(rd, nil, nil, Errorf(CodeParseError, "the message is no JSON: %s", serr))
		return nil
	}
	return c.handle(rd, &env, nil)
}
