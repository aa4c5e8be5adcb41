package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// conn is one connection.
//
//	reader:  fill -> frames.next -> parse -> handle -> start -> runHere (or queue) -> reply
//	writer:  answer, Stream.Send -> output -> flush
//
// One goroutine at a time has the reader's role and owns rd; see reading for
// how the role changes hands. A call that the reader runs itself and that ends
// before another takes the reading over is known to nobody else: no lock is
// taken for it, and its reply waits in rd until the reader has nothing more to
// do. One goroutine at a time writes: the one that set writing. Everything else
// is under mu, which is never held during I/O or while a handler runs.
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
	observed uint64     // by the sweeper, which alone uses it
	onRead   func(fd uintptr) bool

	// The writer's role.
	onWrite    func(fd uintptr) bool
	writes     pendingWrite
	sendBuffer largeSendBuffer

	// finishing is set when the server wants the reading to end: what has been
	// sent so far is still read and answered. aborted is set when it was closed
	// with all that runs on it.
	finishing atomic.Bool
	aborted   atomic.Bool
	closing   chan struct{} // closed with closed
	room      chan struct{} // of capacity 1: something was given back

	// taken is how many places of MaxInFlightPerConnection are taken, without
	// those of reader.places. It changes under mu.
	taken atomic.Int32
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
	flushing bool      // a goroutine is about to write
	active   time.Time // last output
	readDone bool      // nothing more will be read
	gone     bool      // the peer takes nothing any more
	cut      bool      // the server gave up draining
	cause    error     // why it was aborted
	closed   bool
	left     bool // the place at the server is given back
	// parked is set when the reading has ended for another server to go on, with
	// rest first.
	parked bool
	rest   []byte
}

// reader is the state of reading. It belongs to who has the reader's role.
type reader struct {
	frames   frameReader
	deadline time.Time // that is set on the connection
	n        int       // result of the last raw read
	err      error
	handled  int // since others had the processor, in parts of turn

	batch *batch   // whose items are being started
	items [][]byte // of batch, not yet started

	front    bool            // has one of the places of crowd
	running  *call           // handler that runs on this goroutine
	previous <-chan struct{} // closed when the last call that got a goroutine has begun

	// out[:used] are replies that the connection's output does not have yet.
	out     *buffer
	used    int
	backlog int  // bytes put there since the last flush, in all
	dirty   bool // something else was put there that nobody writes
	// places of MaxInFlightPerConnection are taken by what is in out.
	places int

	sequence uint64        // of the last call, for its request id
	counted  uint64        // the last that is in the server's count
	contexts []callContext // not yet used
	spare    *call         // may be used again
}

var (
	errTakenOver    = errors.New("another goroutine has taken the reading over")
	errTooLarge     = errors.New("message too large")
	errFrameTimeout = errors.New("message not complete in time")
	errIdle         = errors.New("idle for too long")
	errNoMemory     = errors.New("no memory for a large message in time")
	errDraining     = errors.New("the server drains")
)

func newConn(srv *Server, nc net.Conn, g *guest, number uint64) *conn {
	now := time.Now()
	c := &conn{
		srv: srv, nc: nc, peer: g.peer, guest: g, number: number, opened: now,
		closing: make(chan struct{}),
		room:    make(chan struct{}, 1),
		active:  now,
	}
	if sc, ok := nc.(*net.UnixConn); ok {
		c.raw, _ = sc.SyscallConn() // fails for a closed connection: the first read says so
		c.onRead, c.onWrite = c.readReady, c.writeReady
	}
	c.rd = &reader{frames: frameReader{now: now}}
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
		crowded := c.srv.sweeper.crowded.Load()
		if rd.handled++; rd.handled > crowdedTurn && (crowded || rd.handled > turn) {
			rd.handled = 0
			c.stepBack(rd)
			runtime.Gosched()
		}
		if crowded && c.srv.adm.mixed.Load() {
			c.stepForward(rd)
		}
		if err := c.step(rd); err == errTakenOver {
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
	_ = parseEnvelope(item, &env) // its syntax was checked with the batch
	return c.handle(rd, &env, b), read
}

// handleFrame handles one frame, as handle does.
//
//go:noinline
func (c *conn) handleFrame(rd *reader, frame []byte) *call {
	if frame[skipSpace(frame, 0)] == '[' {
		c.beginBatch(rd, frame)
		return nil
	}
	var env envelope
	c.srv.beginLook(frame)
	serr := parseEnvelope(frame, &env)
	c.srv.endLook(frame)
	if serr != nil {
		c.refuse(rd, nil, nil, Errorf(CodeParseError, "the message is no JSON: %s", serr))
		return nil
	}
	return c.handle(rd, &env, nil)
}

// beginLook comes before what takes time by the length of frame, endLook behind
// it. Of those that take long, a few go on at a time: hundreds that are ready to
// run would delay each small call by all of them, for the runtime gives everybody
// the same turn.
func (s *Server) beginLook(frame []byte) {
	if len(frame) > sharedFrame {
		s.looking <- struct{}{}
	}
}

func (s *Server) endLook(frame []byte) {
	if len(frame) > sharedFrame {
		<-s.looking
	}
}

// nextFrame returns the next frame. Before it waits for input it writes the
// replies to what it has read so far.
func (c *conn) nextFrame(rd *reader) ([]byte, error) {
	for {
		frame, more, tooLarge := rd.frames.next()
		if tooLarge {
			return nil, errTooLarge
		}
		if !more {
			return frame, nil
		}
		if err := c.flushAsReader(rd); err != nil {
			return nil, err
		}
		if err := c.fill(rd); err != nil {
			return nil, err
		}
	}
}

// fill waits for input.
func (c *conn) fill(rd *reader) error {
	c.count(rd)
	rd.contexts = nil
	rd.frames.max = c.limits().MaxMessageBytes
	if !rd.frames.partial() {
		rd.frames.release()
		if rd.frames.full && !c.srv.adm.ledger.pressed() { // many at once
			c.charge(freelyTaken)
			rd.frames.buf = newBuffer(freelyTaken)
			rd.frames.buf.bill(c, grant{bytes: freelyTaken})
		}
	} else if rd.frames.tooLarge() { // by a limit that was lowered meanwhile
		return errTooLarge
	} else if err := c.makeSpace(rd); err != nil {
		return err
	}
	for passed := false; ; passed = true {
		if err := c.armRead(rd, passed); err != nil {
			return err
		}
		if c.mustPark() { // after the deadline was set, which must not undo that of wake
			return errHandover
		}
		if c.finishing.Load() && c.raw == nil {
			return io.EOF
		}
		n, err := c.read(rd)
		if n > 0 {
			rd.frames.filled(n, time.Now())
			rd.handled += n / bytesATurn
			c.shareSendBuffer()
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// count adds the reader's calls to those of the server.
func (c *conn) count(rd *reader) {
	if rd.sequence != rd.counted && !c.guest.probe {
		c.srv.requests.Add(rd.sequence - rd.counted)
		rd.counted = rd.sequence
	}
}

// makeSpace gets a larger buffer where an incomplete frame needs one.
func (c *conn) makeSpace(rd *reader) error {
	size := rd.frames.wanted(!c.srv.adm.ledger.pressed())
	if size == 0 {
		return nil
	}
	if size <= freelyTaken {
		c.charge(size)
		rd.frames.grow(newBuffer(size)).bill(c, grant{bytes: size})
		return nil
	}
	g, wait := c.srv.adm.reserve(c, size)
	if wait != nil {
		c.stepBack(rd)
		var err error
		if g, err = c.awaitBytes(wait); err != nil {
			return err
		}
		if g.fromReserve {
			size = rd.frames.largest()
		}
	}
	c.held.Add(int64(g.bytes)) // its share of the account is taken already
	rd.frames.grow(newBuffer(size)).bill(c, g)
	return nil
}

// awaitBytes waits for a reservation.
func (c *conn) awaitBytes(wait *reservation) (grant, error) {
	timeout := time.NewTimer(c.limits().QueueTimeout)
	defer timeout.Stop()
	poll := time.NewTicker(hangupPoll)
	defer poll.Stop()
	var err error
	for err == nil {
		select {
		case g, ok := <-wait.granted:
			if !ok {
				return g, errDraining
			}
			return g, nil
		case <-timeout.C:
			err = errNoMemory
		case <-c.srv.handover:
			err = errHandover
		case <-c.closing:
			err = net.ErrClosed
		case <-poll.C:
			if c.hungUp() {
				err = net.ErrClosed
			}
		}
	}
	if !c.srv.adm.withdrawReservation(wait) {
		if g, ok := <-wait.granted; ok {
			c.srv.adm.giveBack(c.guest.account, g)
		}
	}
	return grant{}, err
}

// charge counts bytes that the connection holds from now on.
func (c *conn) charge(n int) {
	c.held.Add(int64(n))
	c.srv.adm.ledger.add(c.guest.account, n)
}

// chargeOutput is charge for what waits to be written.
func (c *conn) chargeOutput(n int) {
	c.unread.Add(int64(n))
	c.charge(n)
}

func (c *conn) unchargeOutput(n int) {
	if n > 0 {
		c.unread.Add(-int64(n))
		c.giveBack(grant{bytes: n})
	}
}

// giveBack is the end of what charge or a reservation began.
func (c *conn) giveBack(g grant) {
	c.held.Add(-int64(g.bytes))
	c.srv.adm.giveBack(c.guest.account, g)
	c.signalRoom()
}

// armRead sets the time at which waiting for input ends, or reports that it has
// come; passed says that the time set before has. Setting a deadline costs more than a small call: one that is too early
// stays, and is looked at again when it passes.
func (c *conn) armRead(rd *reader, passed bool) error {
	limits := c.limits()
	if rd.frames.partial() {
		now := time.Now()
		if !passed {
			rd.frames.readAgain(now)
		}
		want := rd.frames.started.Add(limits.FrameTimeout)
		if !want.After(now) {
			return errFrameTimeout
		}
		// The one that has passed may be that of the idle connection.
		return c.setReadDeadline(rd, want, passed || rd.deadline.IsZero() || rd.deadline.After(want))
	}
	if !passed && rd.deadline.After(rd.frames.now) {
		return nil // armed by an earlier wait
	}
	c.mu.Lock()
	last, busy := c.active, c.taken.Load() > 0
	c.mu.Unlock()
	now := time.Now()
	if rd.frames.now.After(last) {
		last = rd.frames.now
	}
	if busy {
		last = now
	}
	want := last.Add(limits.IdleTimeout)
	if !want.After(now) {
		return errIdle
	}
	return c.setReadDeadline(rd, want, true)
}

func (c *conn) setReadDeadline(rd *reader, t time.Time, change bool) error {
	if !change {
		return nil
	}
	rd.deadline = t
	return c.nc.SetReadDeadline(t)
}

// read makes one read. On a socket it waits without a buffer.
func (c *conn) read(rd *reader) (int, error) {
	if c.raw == nil {
		c.stepBack(rd)
		return c.nc.Read(rd.frames.space())
	}
	if err := c.raw.Read(c.onRead); err != nil {
		return 0, err
	}
	if rd.n == 0 && rd.err == nil {
		rd.err = io.EOF
	}
	return rd.n, rd.err
}

// readReady reads what is there; false means: wait until there is something.
func (c *conn) readReady(fd uintptr) bool {
	rd := c.rd
	for {
		rd.n, rd.err = unix.Read(int(fd), rd.frames.space())
		switch rd.err {
		case unix.EINTR:
		case unix.EAGAIN:
			if !rd.frames.partial() {
				rd.frames.release()
			}
			rd.handled = 0
			c.stepBack(rd)
			return false
		default:
			rd.n = max(rd.n, 0)
			return true
		}
	}
}

// hangupPoll is how often a reader that may not read looks whether its peer is
// still there: a full connection must notice that, too.
const hangupPoll = 250 * time.Millisecond

// waitForRoom waits until the connection may start another call.
func (c *conn) waitForRoom(rd *reader) error {
	if err := c.flushAsReader(rd); err != nil {
		return err
	}
	c.count(rd)
	c.stepBack(rd)
	poll := time.NewTicker(hangupPoll)
	defer poll.Stop()
	var handover <-chan struct{}
	if len(rd.items) == 0 { // a batch is not left half done
		handover = c.srv.handover
	}
	for !c.hasRoom(rd) {
		select {
		case <-c.room:
		case <-handover:
			return errHandover
		case <-c.closing:
			return net.ErrClosed
		case <-poll.C:
			if c.hungUp() {
				c.peerGone()
			}
		}
	}
	return nil
}

// hasRoom counts only what becomes free while the reader waits: not the input
// that it has to go on with itself, nor the replies to the batch that it is in.
func (c *conn) hasRoom(rd *reader) bool {
	held := int64(0)
	if len(rd.items) == 0 {
		held = c.held.Load() - int64(rd.frames.billed())
	}
	return c.srv.adm.hasRoom(int(c.taken.Load())+rd.places, held)
}

// hungUp reports whether the peer has closed its end for both directions. Its
// unread input does not hide that.
func (c *conn) hungUp() bool {
	if c.raw == nil {
		return false
	}
	up := false
	err := c.raw.Control(func(fd uintptr) { up = polledHangup(fd) })
	return up || err != nil
}

func polledHangup(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// endReading is the end of the reader's role. Calls in flight are still
// answered, unless the peer has gone.
func (c *conn) endReading(rd *reader, why error) {
	c.stepBack(rd)
	rd.frames.release()
	gone := false
	switch {
	case errors.Is(why, io.EOF):
		// Only half of the connection may have ended: printf … | socat - UNIX:…
		gone = c.hungUp() || (c.raw == nil && !c.finishing.Load())
	case why == errTooLarge:
		c.refuse(rd, nil, nil, c.srv.adm.messageTooLarge())
		c.closeRead()
	case why == errFrameTimeout:
		c.refuse(rd, nil, nil, c.srv.adm.frameTimeout())
		c.closeRead()
	case why == errNoMemory:
		c.refuse(rd, nil, nil, c.srv.adm.bufferTimeout())
		c.closeRead()
	case why == errDraining:
		c.refuse(rd, nil, nil, c.srv.adm.shuttingDown(ExecutedNo))
		c.closeRead()
	case why == errIdle:
		c.log().Debug("closing: idle")
	default:
		gone = true
	}
	if len(rd.items) > 0 { // will never be started
		c.abandonBatch(rd.batch, len(rd.items))
		rd.items = nil
	}
	c.count(rd)
	c.mu.Lock()
	c.handOverLocked(rd)
	c.readDone = true
	c.settle()
	if gone {
		c.peerGone()
	}
	c.flush()
	c.watchHangup()
}

// closeRead makes the peer's further writes fail, where the kernel can do that.
func (c *conn) closeRead() {
	if cr, ok := c.nc.(interface{ CloseRead() error }); ok {
		_ = cr.CloseRead() // fails if the connection has ended, which is what is wanted
	}
}

// watchHangup waits, after the end of input, until the connection is closed or
// the peer has gone.
func (c *conn) watchHangup() {
	if c.raw == nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Time{}) // fails only for a closed connection
	if err := c.raw.Read(polledHangup); err == nil {
		c.peerGone()
	}
}

// finish asks the reader to end: what has arrived is still answered.
func (c *conn) finish() {
	c.finishing.Store(true)
	if c.raw != nil {
		c.closeRead()
		return
	}
	_ = c.nc.SetReadDeadline(time.Now()) // fails only for a closed connection
}

// peerGone is called when nobody is there to read replies. Calls that do not
// mind run on; streams and those that say so end.
func (c *conn) peerGone() {
	c.mu.Lock()
	if c.gone {
		c.settle()
		return
	}
	c.gone = true
	c.discardLocked()
	var ending []*call
	for _, cl := range c.calls {
		if cl.endsWithPeer() {
			ending = append(ending, cl)
		}
	}
	c.settle()
	for _, cl := range ending {
		c.endWithPeer(cl)
	}
}

// endWithPeer ends a call that is pointless without its client.
func (c *conn) endWithPeer(cl *call) {
	executed := ExecutedUnknown
	if c.withdraw(cl) {
		executed = ExecutedNo
	}
	refusal := c.srv.adm.cancelled(executed)
	c.answer(cl, nil, refusal, nil)
	cl.end(refusal)
}

// withdraw takes a call out of the queue; false if it is not there any more.
func (c *conn) withdraw(cl *call) bool {
	withdrawn, next := c.srv.adm.withdraw(cl)
	if next != nil {
		next.start()
	}
	if withdrawn {
		cl.discard()
	}
	return withdrawn
}

// discardLocked drops all output.
func (c *conn) discardLocked() {
	c.freePlacesLocked(c.out.places)
	for _, s := range c.ready {
		if s.final != nil {
			c.freePlacesLocked(1)
		}
		s.discardLocked()
	}
	c.ready = nil
	c.unchargeOutput(c.out.charged)
	c.out.free()
}

func (c *conn) freePlacesLocked(n int) {
	if n > 0 {
		c.taken.Add(-int32(n))
		c.signalRoom()
	}
}

func (c *conn) signalRoom() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// settle is called with mu held, after every change that may have been the last
// thing the connection waited for, and releases mu.
func (c *conn) settle() {
	drained := c.drainedLocked()
	closeNow := !c.closed && (c.readDone && (c.gone || drained) || c.parked && c.gone)
	if closeNow {
		c.closeLocked()
	}
	stopped := c.readDone || c.parked
	leaveNow := c.closed && stopped && c.taken.Load() == 0 && !c.writing && !c.left
	if leaveNow {
		c.left = true
	}
	c.mu.Unlock()
	if leaveNow {
		c.srv.connLeft(c)
	}
	if stopped {
		c.srv.signalConns()
	}
}

// drainedLocked reports whether nothing runs, and nothing is left to be written.
func (c *conn) drainedLocked() bool {
	return c.taken.Load() == 0 && c.out.empty() && len(c.ready) == 0 && !c.writing
}

// closeLocked closes the socket. What is not written is lost.
func (c *conn) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	c.discardLocked()
	close(c.closing)
	_ = c.nc.Close() // the kernel releases the socket whatever it says
}

// abort closes the connection at once and ends every handler of it.
func (c *conn) abort(cause error) {
	c.aborted.Store(true)
	c.mu.Lock()
	c.cause = cause
	c.closeLocked()
	calls := append([]*call(nil), c.calls...)
	c.settle()
	for _, cl := range calls {
		c.endAborted(cl, cause)
	}
	c.takeOver(c.reading.state.Load()) // what the reader runs must end, too
}

func (c *conn) endAborted(cl *call, cause error) {
	c.withdraw(cl)
	c.answer(cl, nil, c.srv.adm.shuttingDown(ExecutedUnknown), nil)
	cl.end(cause)
}
