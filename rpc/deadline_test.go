package rpc

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// armedConn notes the read deadlines that are set on it. Before it sets the first, it
// calls begin, which may fail. It says on read when it is read from.
type armedConn struct {
	memoryConn
	read  chan struct{} // of capacity 1
	begin func() error
	once  sync.Once
	mu    sync.Mutex
	armed []time.Time
}

func (c *armedConn) SetReadDeadline(t time.Time) (err error) {
	c.mu.Lock()
	c.armed = append(c.armed, t)
	c.mu.Unlock()
	c.once.Do(func() {
		if c.begin != nil {
			err = c.begin()
		}
	})
	if err != nil {
		return err
	}
	return c.memoryConn.SetReadDeadline(t)
}

func (c *armedConn) Read(b []byte) (int, error) {
	select {
	case c.read <- struct{}{}:
	default:
	}
	return c.memoryConn.Read(b)
}

// deadlines returns those that were set since the last call.
func (c *armedConn) deadlines() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	armed := c.armed
	c.armed = nil
	return armed
}

func newArmedConn(begin func() error) (client net.Conn, server *armedConn) {
	client, end := net.Pipe()
	return client, &armedConn{
		memoryConn: memoryConn{end, Peer{UID: 1, GID: 1, PID: 1}},
		read:       make(chan struct{}, 1),
		begin:      begin,
	}
}

// dialArmed returns both ends of a connection whose reader waits. Where awake, the
// server's sweeper is.
func dialArmed(t *testing.T, srv *Server, l *memoryListener, awake bool) (*pipeClient, *armedConn) {
	t.Helper()
	if awake {
		wakeSweeper(t, l)
	}
	synctest.Wait()
	require.Equal(t, !awake, srv.sweeper.asleep.Load())
	client, server := newArmedConn(nil)
	l.conns <- server
	synctest.Wait()
	return newPipeClient(t, client), server
}

// wakeSweeper makes a call on a connection of its own.
func wakeSweeper(t *testing.T, l *memoryListener) {
	t.Helper()
	c := newPipeClient(t, l.dial(1))
	c.send(echoCall)
	c.line()
	require.NoError(t, c.Close())
}

const echoCall = `{"jsonrpc":"2.0","method":"echo","id":1}`

// twoLooks is how long an idle connection may be unarmed, at most.
const twoLooks = 2 * (maxTakeoverInterval + sweeperGrace)

// TestANewConnectionIsArmedOnceItIsIdle: until then it may be over before that would
// have been worth its price.
func TestANewConnectionIsArmedOnceItIsIdle(t *testing.T) {
	for name, awake := range map[string]bool{"by the sweeper": true, "by its reader": false} {
		t.Run(name, func(t *testing.T) {
			gatesInBubble(t, Limits{IdleTimeout: time.Minute}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
				start := time.Now()
				c, nc := dialArmed(t, srv, l, awake)
				if awake {
					require.Empty(t, nc.deadlines())
					for range 100 { // has something to do whenever the sweeper looks
						c.send(echoCall)
						c.line()
						<-time.After(takeoverInterval / 2)
					}
					require.Empty(t, nc.deadlines())
					last := time.Now().Add(-takeoverInterval / 2)
					<-time.After(twoLooks)
					synctest.Wait()
					require.Equal(t, []time.Time{last.Add(time.Minute)}, nc.deadlines())
					c.eof()
					require.Equal(t, time.Minute, time.Since(last))
					return
				}
				require.Equal(t, []time.Time{start.Add(time.Minute)}, nc.deadlines())
				c.send(echoCall) // wakes the sweeper
				c.line()
				<-time.After(twoLooks)
				synctest.Wait()
				require.Empty(t, nc.deadlines())
				c.eof()
				require.Equal(t, time.Minute, time.Since(start))
			})
		})
	}
}

// TestASweeperThatGoesToSleepLeavesNobodyUnarmed: a connection that comes between its
// last sweep and its sleep is closed in time, too.
func TestASweeperThatGoesToSleepLeavesNobodyUnarmed(t *testing.T) {
	gatesInBubble(t, Limits{IdleTimeout: time.Minute}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		wakeSweeper(t, l)
		w := &srv.sweeper
		var client net.Conn
		var came time.Time
		w.mu.Lock()
		look := w.look
		w.look = func() observations {
			found := look()
			if client == nil && found.active == 0 && w.idle == idleSweeps-1 && len(w.wake) == 0 {
				var server *armedConn
				client, server = newArmedConn(nil)
				l.conns <- server
				<-server.read
				came = time.Now()
			}
			return found
		}
		w.mu.Unlock()
		<-time.After(2 * idleSweeps * twoLooks)
		synctest.Wait()
		require.True(t, w.asleep.Load())
		require.NotNil(t, client)
		newPipeClient(t, client).eof()
		require.Equal(t, time.Minute, time.Since(came))
	})
}

// TestAFrameOfAnUnarmedConnectionHasItsTimeout: neither the sweeper's deadline nor its
// absence prolongs that.
func TestAFrameOfAnUnarmedConnectionHasItsTimeout(t *testing.T) {
	gatesInBubble(t, Limits{FrameTimeout: 10 * time.Second, IdleTimeout: time.Minute}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		for armed := range 2 { // deadlines that the sweeper has set before
			c, nc := dialArmed(t, srv, l, true)
			if armed == 1 {
				<-time.After(twoLooks)
				synctest.Wait()
			}
			require.Len(t, nc.deadlines(), armed)
			_, err := c.Write([]byte(echoCall))
			require.NoError(t, err)
			start := time.Now()
			require.Contains(t, c.line(), ReasonFrameTimeout)
			require.Equal(t, 10*time.Second, time.Since(start))
			c.eof()
		}
	})
}

// TestTheSweeperDoesNotUndoAnEnd: a reader that was woken to end must not wait on, for
// the deadline of an idle connection.
func TestTheSweeperDoesNotUndoAnEnd(t *testing.T) {
	for name, end := range map[string]func(srv *Server, c *conn){
		"of a server that hands over":  func(srv *Server, _ *conn) { srv.handing.Store(true) },
		"of a connection that is done": func(_ *Server, c *conn) { c.finishing.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			gatesInBubble(t, Limits{IdleTimeout: time.Minute}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
				_, nc := dialArmed(t, srv, l, true)
				end(srv, onlyConn(t, srv)) // the reader's wake comes before the sweeper's deadline, which would undo it
				<-time.After(twoLooks)
				synctest.Wait()
				armed := nc.deadlines()
				require.NotEmpty(t, armed)
				require.True(t, allStopped(srv), "the reader waits on: %v", armed)
			})
		})
	}
}

// allStopped reports whether no connection's reader waits for input.
func allStopped(srv *Server) bool {
	for _, c := range srv.snapshot() {
		if !c.stoppedReading() {
			return false
		}
	}
	return true
}

// TestAConnectionThatIsNotReadIsNotArmed: what waits for its end has no deadline, nor
// has the server that goes on with it.
func TestAConnectionThatIsNotReadIsNotArmed(t *testing.T) {
	for name, state := range map[string]func(c *conn) *bool{
		"the end of input": func(c *conn) *bool { return &c.readDone },
		"handed over":      func(c *conn) *bool { return &c.parked },
		"closed":           func(c *conn) *bool { return &c.closed },
	} {
		t.Run(name, func(t *testing.T) {
			gatesInBubble(t, Limits{}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
				_, nc := dialArmed(t, srv, l, true)
				c := onlyConn(t, srv)
				set := func(to bool) {
					c.mu.Lock()
					defer c.mu.Unlock()
					*state(c) = to
				}
				set(true)
				<-time.After(twoLooks)
				synctest.Wait()
				require.Empty(t, nc.deadlines())
				set(false)
			})
		})
	}
}

// TestAConnectionThatCannotBeArmedEnds, as one whose reader can not.
func TestAConnectionThatCannotBeArmedEnds(t *testing.T) {
	gatesInBubble(t, Limits{}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		wakeSweeper(t, l)
		synctest.Wait()
		client, nc := newArmedConn(func() error { return syscall.EBADF })
		l.conns <- nc
		newPipeClient(t, client).eof()
		synctest.Wait()
		require.Empty(t, srv.snapshot())
	})
}

// TestADeadlineOfAFrameIsBehindTheSweepers: the reader, which has it from then on, must
// not be overtaken.
func TestADeadlineOfAFrameIsBehindTheSweepers(t *testing.T) {
	srv, _ := gateServer(t, Limits{})
	l := newMemoryListener()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	wakeSweeper(t, l)
	stayAwake(&srv.sweeper)
	require.Eventually(t, func() bool { return !srv.sweeper.asleep.Load() && len(srv.snapshot()) == 0 }, patience, time.Millisecond)
	client, nc := newArmedConn(nil)
	first := make(chan error, 1)
	nc.begin = func() error { // the sweeper's
		_, err := client.Write([]byte(echoCall))
		for overtaken := false; err == nil && !strings.Contains(allStacks(), "endUnarmed"); {
			if nc.mu.Lock(); len(nc.armed) > 1 {
				overtaken = true
			}
			if nc.mu.Unlock(); overtaken {
				err = errors.New("the reader has set its deadline while the sweeper did")
			}
		}
		first <- err
		return nil
	}
	l.conns <- nc
	require.NoError(t, <-first)
	require.Eventually(t, func() bool { nc.mu.Lock(); defer nc.mu.Unlock(); return len(nc.armed) == 2 }, patience, time.Millisecond)
	require.Less(t, time.Until(nc.deadlines()[1]), srv.Limits.WithDefaults().IdleTimeout/2, "is that of the frame")
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, ErrServerClosed)
	close(l.conns)
}

// stayAwake has a sweeper never find that nobody is busy.
func stayAwake(w *sweeper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	look := w.look
	w.look = func() observations {
		found := look()
		found.active++
		return found
	}
	w.busy()
}

// allStacks returns what all goroutines are at.
func allStacks() string {
	text := make([]byte, 1<<20)
	return string(text[:runtime.Stack(text, true)])
}

// TestForgottenInputOfAnUnarmedConnectionIsFound: the deadline does not undo that its
// reader is woken.
func TestForgottenInputOfAnUnarmedConnectionIsFound(t *testing.T) {
	srv := newForgetful(t)
	path := startServer(t, srv.Server)
	other := dialWire(t, path)
	other.send(echoCall + "\n")
	other.line()
	require.NoError(t, other.Close())
	stayAwake(&srv.sweeper)
	unarmed := 0
	for range 20 {
		require.Eventually(t, func() bool { return !srv.sweeper.asleep.Load() && len(srv.snapshot()) == 0 }, patience, time.Millisecond)
		srv.sweeper.mu.Lock()
		w := dialWire(t, path)
		srv.client.Store(w)
		w.send(`{"jsonrpc":"2.0","id":1,"method":"more"}` + "\n")
		require.Eventually(t, func() bool {
			conns := srv.snapshot()
			return len(conns) == 1 && conns[0].blind.Load() != 0
		}, patience, time.Millisecond)
		if onlyConn(t, srv.Server).unarmed.Load() {
			unarmed++
		}
		srv.sweeper.mu.Unlock()
		srv.awaitNote(t)
		w.line()
		require.NoError(t, w.Close())
	}
	require.NotZero(t, unarmed)
}
