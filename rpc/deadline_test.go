package rpc

import (
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// armedConn notes the read deadlines that are set on it, and fails to set one with err.
type armedConn struct {
	memoryConn
	mu    sync.Mutex
	armed []time.Time
	err   error
}

func (c *armedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = append(c.armed, t)
	if c.err != nil {
		return c.err
	}
	return c.memoryConn.SetReadDeadline(t)
}

// deadlines returns those that were set since the last call.
func (c *armedConn) deadlines() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	armed := c.armed
	c.armed = nil
	return armed
}

// dialArmed returns both ends of a connection whose reader is about to wait. Where
// awake, the server's sweeper is.
func dialArmed(t *testing.T, srv *Server, l *memoryListener, awake bool) (*pipeClient, *armedConn) {
	t.Helper()
	if awake {
		other := newPipeClient(t, l.dial(1))
		other.send(`{"jsonrpc":"2.0","method":"echo","id":0}`)
		other.line()
		require.NoError(t, other.Close())
	}
	synctest.Wait()
	require.Equal(t, !awake, srv.sweeper.asleep.Load())
	client, server := net.Pipe()
	nc := &armedConn{memoryConn: memoryConn{server, Peer{UID: 1, GID: 1, PID: 1}}}
	l.conns <- nc
	synctest.Wait()
	return newPipeClient(t, client), nc
}

const echoCall = `{"jsonrpc":"2.0","method":"echo","id":1}`

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
					<-time.After(2 * (maxTakeoverInterval + sweeperGrace))
					synctest.Wait()
					require.Equal(t, []time.Time{last.Add(time.Minute)}, nc.deadlines())
					c.eof()
					require.Equal(t, time.Minute, time.Since(last))
					return
				}
				require.Equal(t, []time.Time{start.Add(time.Minute)}, nc.deadlines())
				c.send(echoCall) // wakes the sweeper
				c.line()
				<-time.After(2 * (maxTakeoverInterval + sweeperGrace))
				synctest.Wait()
				require.Empty(t, nc.deadlines())
				c.eof()
				require.Equal(t, time.Minute, time.Since(start))
			})
		})
	}
}

// TestASweeperThatGoesToSleepLeavesNobodyUnarmed: a connection without any call, too, is
// closed when it was idle for too long.
func TestASweeperThatGoesToSleepLeavesNobodyUnarmed(t *testing.T) {
	gatesInBubble(t, Limits{IdleTimeout: time.Minute}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		for wait := time.Duration(0); wait < (idleSweeps+2)*(maxTakeoverInterval+sweeperGrace); wait += 7 * time.Millisecond {
			_, _ = dialArmed(t, srv, l, true)
			<-time.After(wait)
			start := time.Now()
			c := newPipeClient(t, l.dial(1))
			c.eof()
			require.Equal(t, time.Minute, time.Since(start), wait)
		}
	})
}

// TestAFrameOfAnUnarmedConnectionHasItsTimeout: neither the sweeper's deadline nor its
// absence prolongs that.
func TestAFrameOfAnUnarmedConnectionHasItsTimeout(t *testing.T) {
	gatesInBubble(t, Limits{FrameTimeout: 10 * time.Second, IdleTimeout: time.Minute}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		for armed := range 2 { // deadlines that the sweeper has set before
			c, nc := dialArmed(t, srv, l, true)
			if armed == 1 {
				<-time.After(2 * (maxTakeoverInterval + sweeperGrace))
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
				end(srv, onlyConn(t, srv)) // and wakes the reader, before the sweeper looks
				<-time.After(2 * (maxTakeoverInterval + sweeperGrace))
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

// TestAConnectionThatCannotBeArmedEnds, as one whose reader can not.
func TestAConnectionThatCannotBeArmedEnds(t *testing.T) {
	gatesInBubble(t, Limits{}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		c, nc := dialArmed(t, srv, l, true)
		nc.mu.Lock()
		nc.err = syscall.EBADF
		nc.mu.Unlock()
		c.eof()
		synctest.Wait()
		require.Empty(t, srv.snapshot())
	})
}
