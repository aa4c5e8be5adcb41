package rpc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimitsOfZeroAreTheDefaults(t *testing.T) {
	require.Equal(t, DefaultLimits(), Limits{}.WithDefaults())
	l := Limits{MaxBatch: 7, IdleTimeout: time.Minute}.WithDefaults()
	require.Equal(t, 7, l.MaxBatch)
	require.Equal(t, time.Minute, l.IdleTimeout)
	require.Equal(t, 500, l.MaxConnections)
}

func TestValidateNamesTheFieldAndItsValue(t *testing.T) {
	require.NoError(t, Limits{}.Validate())
	require.ErrorContains(t, Limits{MaxBatch: -3}.Validate(), "MaxBatch is -3")
	require.ErrorContains(t, Limits{IdleTimeout: -time.Second}.Validate(), "IdleTimeout is -1s")
	require.ErrorContains(t, Limits{MaxMessageBytes: 10}.Validate(), "MaxMessageBytes is 10")
	l, err := net.Listen("unix", "@marianned-limits-test")
	require.NoError(t, err)
	srv := &Server{Limits: Limits{MaxStreams: -1}}
	require.ErrorContains(t, srv.Serve(l), "MaxStreams is -1")
	require.NoError(t, srv.Close())
}

// pipeClient reads lines from a memory connection.
type pipeClient struct {
	net.Conn
	lines *bufio.Reader
	t     *testing.T
}

func newPipeClient(t *testing.T, nc net.Conn) *pipeClient {
	return &pipeClient{nc, bufio.NewReader(nc), t}
}

func (c *pipeClient) send(line string) {
	c.t.Helper()
	_, err := c.Write([]byte(line + "\n"))
	require.NoError(c.t, err)
}

func (c *pipeClient) line() string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(c.t, err)
	return strings.TrimSuffix(line, "\n")
}

func (c *pipeClient) eof() {
	c.t.Helper()
	_, err := c.lines.ReadByte()
	require.ErrorIs(c.t, err, io.EOF)
}

func gateServer(t *testing.T, limits Limits) (*Server, *gate) {
	g := newGate()
	return &Server{Methods: testMethods(t, &Method{Name: "gate", Handler: g}), Limits: limits}, g
}

func gateCall(id int) string { return fmt.Sprintf(`{"jsonrpc":"2.0","method":"gate","id":%d}`, id) }

// gatesInBubble is inBubble with a gate, whose channels have to be made in the
// bubble.
func gatesInBubble(t *testing.T, limits Limits, f func(t *testing.T, srv *Server, g *gate, l *memoryListener)) {
	t.Helper()
	var g *gate
	inBubble(t, func() (srv *Server) { srv, g = gateServer(t, limits); return srv },
		func(t *testing.T, srv *Server, l *memoryListener) { f(t, srv, g, l) })
}

// comeToRest lets a bubble run until only time could move it, takeovers
// included.
func comeToRest() {
	<-time.After(10 * takeoverInterval)
	synctest.Wait()
}

func TestAnIdleConnectionIsClosedAfterIdleTimeout(t *testing.T) {
	gatesInBubble(t, Limits{IdleTimeout: time.Minute}, func(t *testing.T, _ *Server, _ *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		<-time.After(50 * time.Second)
		c.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		c.line()
		start := time.Now()
		c.eof()
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestACallInFlightKeepsItsConnectionFromBeingIdle(t *testing.T) {
	gatesInBubble(t, Limits{IdleTimeout: time.Minute, RequestTimeout: time.Hour}, func(t *testing.T, _ *Server, g *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(gateCall(1))
		<-time.After(10*time.Minute + 30*time.Second)
		close(g.open)
		require.Contains(t, c.line(), "through")
		start := time.Now()
		c.eof()
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestAFrameThatDripsInIsCutOffAtFrameTimeout(t *testing.T) {
	gatesInBubble(t, Limits{FrameTimeout: 10 * time.Second}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		<-time.After(time.Minute)
		start := time.Now()
		go func() {
			for _, b := range []byte(`{"jsonrpc":"2.0","method":"echo","id":1}`) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		}()
		require.Contains(t, c.line(), ReasonFrameTimeout)
		require.Equal(t, 10*time.Second, time.Since(start))
		c.eof()
		require.EqualValues(t, 1, srv.Stats().Refusals[ReasonFrameTimeout])
		<-time.After(2 * time.Second) // the dripping notices it
	})
}

func TestACompleteFrameEndsItsDeadline(t *testing.T) {
	gatesInBubble(t, Limits{FrameTimeout: 10 * time.Second, IdleTimeout: time.Minute}, func(t *testing.T, _ *Server, _ *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		_, err := c.Write([]byte(`{"jsonrpc":"2.0",`))
		require.NoError(t, err)
		<-time.After(9 * time.Second)
		c.send(`"method":"echo","id":1}`)
		c.line()
		<-time.After(55 * time.Second)
		c.send(`{"jsonrpc":"2.0","method":"echo","id":2}`)
		require.Contains(t, c.line(), `"id":2`)
	})
}

func TestAPeerThatDoesNotReadIsClosedAfterWriteTimeout(t *testing.T) {
	gatesInBubble(t, Limits{WriteTimeout: 10 * time.Second}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		c.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		<-time.After(9 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, srv.Stats().Connections)
		<-time.After(2 * time.Second)
		synctest.Wait()
		require.Equal(t, 0, srv.Stats().Connections)
		c.eof()
	})
}

func TestACallIsAnsweredAtItsTimeoutAndKeepsItsSlotUntilItsHandlerEnds(t *testing.T) {
	var release chan struct{}
	inBubble(t, func() *Server {
		release = make(chan struct{})
		deaf := HandlerFunc(func(ctx context.Context, _ *Request) (any, error) {
			deadline, ok := ctx.Deadline()
			if !ok || time.Until(deadline) > 5*time.Second {
				return nil, fmt.Errorf("deadline %v %t", deadline, ok)
			}
			<-release
			return "late", ctx.Err()
		})
		return &Server{Methods: testMethods(t, &Method{Name: "deaf", Handler: deaf, Timeout: 5 * time.Second})}
	}, func(t *testing.T, srv *Server, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		start := time.Now()
		c.send(`{"jsonrpc":"2.0","method":"deaf","id":1}`)
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"error":{"code":-32010,"message":"the call took longer than 5s","data":{"reason":"request_timeout","scope":"call","limit":5000,"executed":"unknown"}}}`, c.line())
		require.Equal(t, 5*time.Second, time.Since(start))
		require.Equal(t, 1, srv.Stats().Running)
		close(release)
		synctest.Wait()
		require.Equal(t, 0, srv.Stats().Running)
		c.send(`{"jsonrpc":"2.0","method":"echo","id":2}`)
		require.Contains(t, c.line(), `"id":2`) // and nothing late under id 1
	})
}

func TestCallsBeyondTheSlotsWaitAndAreRefusedAfterQueueTimeout(t *testing.T) {
	gatesInBubble(t, Limits{MaxConcurrentRequests: 2, QueueTimeout: 10 * time.Second}, func(t *testing.T, srv *Server, g *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		for id := 1; id <= 3; id++ {
			c.send(gateCall(id))
		}
		synctest.Wait()
		start := time.Now()
		require.Equal(t, `{"jsonrpc":"2.0","id":3,"error":{"code":-32001,"message":"no slot became free within 10s: 2 requests run at once","data":{"reason":"queue_timeout","scope":"uid","limit":10000,"retry_after_ms":1000,"executed":"no"}}}`, c.line())
		require.Equal(t, 10*time.Second, time.Since(start).Round(10*time.Millisecond))
		c.send(gateCall(4))
		c.send(`{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":4}}`)
		require.Contains(t, c.line(), `"id":4,"error":{"code":-32011,"message":"the call was cancelled","data":{"reason":"cancelled","scope":"call","executed":"no"}`)
		c.send(gateCall(5))
		synctest.Wait()
		close(g.open)
		got := []string{c.line(), c.line(), c.line()}
		require.Len(t, got, 3)
		require.Len(t, g.entered, 3) // calls 3 and 4 never ran
		require.Equal(t, 0, srv.Stats().Queued)
	})
}

func TestSlotsGoRoundTheUIDs(t *testing.T) {
	var order chan uint32
	var step chan struct{}
	inBubble(t, func() *Server {
		order, step = make(chan uint32, 100), make(chan struct{})
		h := HandlerFunc(func(_ context.Context, req *Request) (any, error) {
			order <- req.Peer.UID
			<-step
			return nil, nil
		})
		return &Server{Methods: testMethods(t, &Method{Name: "h", Handler: h}), Limits: Limits{MaxConcurrentRequests: 1}}
	}, func(t *testing.T, srv *Server, l *memoryListener) {
		for _, uid := range []uint32{1, 1, 2, 3} {
			nc := l.dial(uid)
			go func() { _, _ = io.Copy(io.Discard, nc) }()
			for id := range 3 {
				newPipeClient(t, nc).send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"h","id":%d}`, id))
				synctest.Wait()
			}
		}
		var got []uint32
		for range 12 {
			got = append(got, <-order)
			step <- struct{}{}
		}
		require.Equal(t, []uint32{1, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 1}, got)
	})
}

// The reader keeps its slot from one call for the next that came with it.
func TestAReaderThatWaitsHasNoSlot(t *testing.T) {
	gatesInBubble(t, Limits{MaxConcurrentRequests: 1}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		const calls = `{"jsonrpc":"2.0","method":"echo","id":1}` + "\n" + `{"jsonrpc":"2.0","method":"echo","id":2}` + "\n"
		for _, waitsFor := range []string{"", `{"jsonrpc":`, gateCall(3) + "\n" + `{"jsonrpc":`} {
			c := newPipeClient(t, l.dial(1))
			_, err := c.Write([]byte(calls + waitsFor))
			require.NoError(t, err)
			for id := range 2 {
				require.Contains(t, c.line(), fmt.Sprintf(`"id":%d,"result"`, id+1))
			}
			comeToRest()
			require.Equal(t, strings.Count(waitsFor, "gate"), srv.Stats().Running)
		}
	})
}

func TestCallsOfOneConnectionStartInTheirOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	h := HandlerFunc(func(_ context.Context, req *Request) (any, error) {
		mu.Lock()
		order = append(order, string(req.Params))
		mu.Unlock()
		return nil, nil
	})
	w := dialWire(t, startServer(t, &Server{
		Methods: testMethods(t, &Method{Name: "h", Handler: h, TakesArray: true}),
		Limits:  Limits{MaxConcurrentRequests: 1},
	}))
	const n = 2000
	go func() {
		for i := range n {
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","method":"h","params":[%d],"id":%d}`+"\n", i, i)
		}
	}()
	for range n {
		w.line()
	}
	mu.Lock()
	defer mu.Unlock()
	for i, p := range order {
		require.Equal(t, fmt.Sprintf("[%d]", i), p)
	}
}

func TestAConnectionAtMaxInFlightIsReadNoFurther(t *testing.T) {
	gatesInBubble(t, Limits{MaxInFlightPerConnection: 3}, func(t *testing.T, _ *Server, g *gate, l *memoryListener) {
		c := newPipeClient(t, l.dial(1))
		sent := make(chan struct{})
		go func() {
			for id := range 4 {
				c.send(gateCall(id))
			}
			// A cancel behind the fourth call waits, too.
			c.send(`{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":99}}`)
			close(sent)
		}()
		comeToRest()
		require.Len(t, g.entered, 3)
		select {
		case <-sent:
			t.Error("the connection was read on")
		default:
		}
		close(g.open)
		for range 4 {
			require.NotContains(t, c.line(), "error")
		}
		require.Len(t, g.entered, 4)
		<-sent
	})
}

func TestAFullConnectionNoticesThatItsPeerIsGone(t *testing.T) {
	g := newGate()
	srv := &Server{
		Methods: testMethods(t, &Method{Name: "gate", Handler: g, CancelOnDisconnect: true}),
		Limits:  Limits{MaxInFlightPerConnection: 2},
	}
	w := dialWire(t, startServer(t, srv))
	for id := range 3 {
		w.send(gateCall(id) + "\n")
	}
	<-g.entered
	<-g.entered
	_ = w.Close()
	require.Eventually(t, func() bool { return srv.Stats().Running == 0 && srv.Stats().Connections == 0 }, patience, time.Millisecond)
}

func TestAUIDBeyondItsConnectionsIsToldSo(t *testing.T) {
	gatesInBubble(t, Limits{MaxConnectionsPerUID: 2}, func(t *testing.T, _ *Server, _ *gate, l *memoryListener) {
		l.dial(7)
		l.dial(7)
		synctest.Wait()
		c := newPipeClient(t, l.dial(7))
		require.Equal(t, `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"uid 7 has 2 connections open, which is the limit","data":{"reason":"max_connections_per_uid","scope":"uid","limit":2,"retry_after_ms":1000,"executed":"no"}}}`, c.line())
		c.eof()
		for _, uid := range []uint32{8, uint32(os.Geteuid()), 0, 0, 0} {
			c := newPipeClient(t, l.dial(uid))
			c.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
			require.Contains(t, c.line(), `"id":1`)
		}
	})
}

func TestAConnectionBeyondTheLimitWaitsForAPlace(t *testing.T) {
	gatesInBubble(t, Limits{MaxConnections: 2}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		first := l.dial(7)
		l.dial(7)
		synctest.Wait()
		c := newPipeClient(t, l.dial(8))
		go func() {
			<-time.After(3 * time.Second)
			_ = first.Close()
		}()
		start := time.Now()
		c.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		require.Contains(t, c.line(), `"id":1`)
		require.Equal(t, 3*time.Second, time.Since(start).Round(10*time.Millisecond))

		start = time.Now()
		late := newPipeClient(t, l.dial(9))
		require.Equal(t, `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"all 2 connections are taken","data":{"reason":"max_connections","scope":"server","limit":2,"retry_after_ms":1000,"executed":"no"}}}`, late.line())
		require.Equal(t, 5*time.Second, time.Since(start))
		late.eof()
		require.Equal(t, 0, srv.Stats().Waiting)
	})
}

func TestRootPassesThroughTheWaitingRoom(t *testing.T) {
	gatesInBubble(t, Limits{MaxConnections: 1}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		l.dial(7)
		synctest.Wait()
		for range 3 {
			l.dial(8)
		}
		synctest.Wait()
		require.Equal(t, 3, srv.Stats().Waiting)
		start := time.Now()
		c := newPipeClient(t, l.dial(0))
		c.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		require.Contains(t, c.line(), `"id":1`)
		require.Zero(t, time.Since(start).Round(time.Second))
	})
}

func TestAFreePlaceGoesToWhoWaitsAndNotToRoot(t *testing.T) {
	gatesInBubble(t, Limits{MaxConnections: 1}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		first := l.dial(7)
		synctest.Wait()
		waiting := newPipeClient(t, l.dial(8))
		synctest.Wait()
		root := newPipeClient(t, l.dial(0))
		root.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		root.line()
		_ = first.Close()
		waiting.send(`{"jsonrpc":"2.0","method":"echo","id":1}`)
		require.Contains(t, waiting.line(), `"id":1`)
		require.Equal(t, 2, srv.Stats().Connections)
		_ = root.Close() // its place was none of the one
		synctest.Wait()
		l.dial(9)
		synctest.Wait()
		require.Equal(t, 1, srv.Stats().Waiting)
		_ = waiting.Close()
		synctest.Wait()
		require.Equal(t, 0, srv.Stats().Waiting)
		require.Equal(t, 1, srv.Stats().Connections)
	})
}

func TestTheOldestGuestLeavesAFullWaitingRoom(t *testing.T) {
	gatesInBubble(t, Limits{MaxConnections: 1}, func(t *testing.T, srv *Server, _ *gate, l *memoryListener) {
		l.dial(7)
		synctest.Wait()
		start := time.Now()
		oldest := newPipeClient(t, l.dial(8))
		synctest.Wait()
		for range waitingRoom - 1 {
			l.dial(9)
		}
		require.Contains(t, oldest.line(), ReasonMaxConnections)
		require.Zero(t, time.Since(start))
		require.Equal(t, waitingRoom-1, srv.Stats().Waiting)
	})
}

// countFDs returns how many file descriptors this process has open.
func countFDs(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestOpenConnectionsNeverExceedTheLimitAndItsWaitingRoom(t *testing.T) {
	const limit = 5
	srv := &Server{Methods: testMethods(t), Limits: Limits{MaxConnections: limit, ConnectionWaitTimeout: 50 * time.Millisecond}}
	// This test's own uid would pass through the room.
	srv.init()
	srv.adm.operators = nil
	path := startServer(t, srv)
	const clients = 60
	// The clients' ends are made first, so that they do not count.
	fds := make([]int, clients)
	for i := range fds {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		fds[i] = fd
	}
	before := countFDs(t)
	stop, widest := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			select {
			case <-stop:
				widest <- most
				return
			default:
				most = max(most, countFDs(t)-before)
			}
		}
	}()
	var wg sync.WaitGroup
	for _, fd := range fds {
		wg.Go(func() {
			defer func() { _ = syscall.Close(fd) }()
			if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
				t.Errorf("connect: %v", err)
				return
			}
			_, _ = syscall.Write(fd, []byte(`{"jsonrpc":"2.0","method":"echo","id":1}`+"\n"))
			buf := make([]byte, 1000)
			n, err := syscall.Read(fd, buf)
			if n <= 0 || (!strings.Contains(string(buf[:n]), `"id":1`) && !strings.Contains(string(buf[:n]), ReasonMaxConnections)) {
				t.Errorf("read %q: %v", buf[:max(n, 0)], err)
			}
		})
	}
	wg.Wait()
	close(stop)
	// One more is the directory that is read to count.
	require.LessOrEqual(t, <-widest, limit+waitingRoom+1)
}
