package rpc

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// relay is a listener that outlives the servers that accept from it, as a socket
// of the service manager does.
type relay struct {
	t    *testing.T
	path string
	file *os.File
}

func newRelay(t *testing.T) *relay {
	dir, err := os.MkdirTemp("", "rpc") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	file, err := l.(*net.UnixListener).File()
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	t.Cleanup(func() { _ = file.Close() })
	return &relay{t, filepath.Join(dir, "s"), file}
}

// serve has srv accept from the socket until it is handed over or the test ends.
func (r *relay) serve(srv *Server) *Server {
	l, err := net.FileListener(r.file)
	require.NoError(r.t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	r.t.Cleanup(func() {
		_ = srv.Close()
		require.ErrorIs(r.t, <-served, ErrServerClosed)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(r.t, srv.waitForConns(ctx), "connections are left")
	})
	return srv
}

// handOver hands all connections of srv over to next, which serves then.
func (r *relay) handOver(srv, next *Server) (kept int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := srv.Handover(ctx, 1<<20)
	require.NoError(r.t, err)
	require.Empty(r.t, srv.snapshot())
	for _, k := range all {
		next.Adopt(k)
	}
	r.serve(next)
	return len(all)
}

func callFrame(id int, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`+"\n", id, method, params)
}

func TestAClientDoesNotNoticeThatAnotherServerGoesOn(t *testing.T) {
	r := newRelay(t)
	first := r.serve(&Server{Methods: testMethods(t)})
	idle, cut, unread := dialWire(t, r.path), dialWire(t, r.path), dialWire(t, r.path)
	for i, c := range []*wireConn{idle, cut, unread} {
		c.send(callFrame(i, "echo", `["before"]`))
	}
	idle.reply()
	text := callFrame(7, "echo", `["`+strings.Repeat("x", 100<<10)+`"]`)
	cut.reply()
	cut.send(text[:70<<10])
	require.Eventually(t, func() bool { return first.Stats().BufferedBytes >= 64<<10 }, patience, time.Millisecond)

	require.Equal(t, 3, r.handOver(first, &Server{Methods: testMethods(t)}))
	idle.send(callFrame(8, "echo", `["after"]`))
	require.Equal(t, `["after"]`, string(idle.reply().Result))
	cut.send(text[70<<10:])
	require.Equal(t, "7", string(cut.reply().ID))
	require.Equal(t, `["before"]`, string(unread.reply().Result), "a reply that was not read yet")
}

func TestWhatWasNotHandledIsHandedOver(t *testing.T) {
	gate, later := newGate(), newGate()
	r := newRelay(t)
	first := r.serve(&Server{Methods: testMethods(t, &Method{Name: "gate", Handler: gate}), Limits: Limits{MaxInFlightPerConnection: 1}})
	c := dialWire(t, r.path)
	c.send(callFrame(1, "gate", `{"n":1}`) + callFrame(2, "gate", `{"n":2}`) + callFrame(3, "echo", `[3]`) + `{"jsonrpc":"2.0","id":4,"meth`)
	require.Equal(t, `{"n":1}`, <-gate.entered)
	type result struct {
		kept []Kept
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		kept, err := first.Handover(context.Background(), 1<<20)
		ended <- result{kept, err}
	}()
	require.Eventually(t, func() bool { return first.snapshot()[0].stoppedReading() }, patience, time.Millisecond)
	select {
	case <-ended:
		t.Fatal("a call runs")
	default:
	}
	close(gate.open)
	got := <-ended
	require.NoError(t, got.err)
	require.Empty(t, gate.entered, "nothing else was begun")
	require.Len(t, got.kept, 1)
	require.Equal(t, uint32(os.Geteuid()), got.kept[0].Peer.UID)
	require.Equal(t, callFrame(2, "gate", `{"n":2}`)+callFrame(3, "echo", `[3]`)+`{"jsonrpc":"2.0","id":4,"meth`, string(got.kept[0].Input))
	require.Equal(t, "1", string(c.reply().ID))

	next := &Server{Methods: testMethods(t, &Method{Name: "gate", Handler: later})}
	close(later.open)
	next.Adopt(got.kept[0])
	r.serve(next)
	c.send(`od":"echo","params":[4]}` + "\n")
	ids := []string{string(c.reply().ID), string(c.reply().ID), string(c.reply().ID)}
	require.ElementsMatch(t, []string{"2", "3", "4"}, ids)
}

func TestABatchIsNotHandedOverHalfDone(t *testing.T) {
	gate := newGate()
	r := newRelay(t)
	first := r.serve(&Server{Methods: testMethods(t, &Method{Name: "gate", Handler: gate}), Limits: Limits{MaxInFlightPerConnection: 2}})
	c := dialWire(t, r.path)
	items := make([]string, 5)
	for i := range items {
		items[i] = strings.TrimSpace(callFrame(i, "gate", fmt.Sprintf(`{"n":%d}`, i)))
	}
	c.send("[" + strings.Join(items, ",") + "]\n" + callFrame(9, "echo", "[9]"))
	<-gate.entered
	kept := make(chan int, 1)
	next := &Server{Methods: testMethods(t)}
	go func() { kept <- r.handOver(first, next) }()
	require.Eventually(t, first.handing.Load, patience, time.Millisecond)
	close(gate.open)
	require.Equal(t, 1, <-kept)
	require.Equal(t, 5, strings.Count(c.line(), `"result":"through"`))
	require.Equal(t, "9", string(c.reply().ID))
}

func TestAStreamEndsAtAHandoverAndItsConnectionDoesNot(t *testing.T) {
	r := newRelay(t)
	until := func(ctx context.Context, req *Request, s *Stream) (any, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	first := r.serve(&Server{Methods: testMethods(t, &Method{Name: "watch", Stream: until})})
	c := dialWire(t, r.path)
	c.send(callFrame(1, "watch", "{}") + callFrame(2, "echo", "[]"))
	c.reply()
	require.Equal(t, 1, r.handOver(first, &Server{Methods: testMethods(t)}))
	end := c.reply()
	require.Equal(t, CodeShuttingDown, end.Error.Code)
	c.send(callFrame(3, "echo", "[]"))
	require.Equal(t, "3", string(c.reply().ID))
}

func TestWhoWaitsForAPlaceIsHandedOver(t *testing.T) {
	r := newRelay(t)
	limits := Limits{MaxConnections: 1, ConnectionWaitTimeout: time.Minute}
	first := &Server{Methods: testMethods(t), Limits: limits}
	first.init()
	first.adm.operators = nil
	r.serve(first)
	c := dialWire(t, r.path)
	c.send(callFrame(1, "echo", "[]"))
	c.reply()
	waits := dialWire(t, r.path)
	waits.send(callFrame(2, "echo", "[]"))
	require.Eventually(t, func() bool { return first.Stats().Waiting == 1 }, patience, time.Millisecond)
	require.Equal(t, 2, r.handOver(first, &Server{Methods: testMethods(t)}))
	require.Equal(t, "2", string(waits.reply().ID))
	c.send(callFrame(3, "echo", "[]"))
	require.Equal(t, "3", string(c.reply().ID))
}

func TestWhatRunsIsCutOffWhereTheHandoverMustEnd(t *testing.T) {
	gate := newGate()
	r := newRelay(t)
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	first := r.serve(&Server{Methods: testMethods(t, &Method{Name: "gate", Handler: gate}), Limits: Limits{MaxConcurrentRequests: 1}, Logger: logger})
	c := dialWire(t, r.path)
	c.send(callFrame(1, "gate", "{}") + callFrame(2, "gate", "{}"))
	<-gate.entered
	require.Eventually(t, func() bool { return first.Stats().Queued == 1 }, patience, time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	kept, err := first.Handover(ctx, 1<<20)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, kept, 1)
	for range 2 {
		got := c.reply()
		require.Equal(t, CodeShuttingDown, got.Error.Code)
		want := map[string]any{"1": "unknown", "2": "no"}[string(got.ID)]
		require.Equal(t, want, got.Error.Data["executed"], string(got.ID))
	}
	require.Contains(t, log.String(), "call cut off")
	next := &Server{Methods: testMethods(t)}
	next.Adopt(kept[0])
	r.serve(next)
	c.send(callFrame(3, "echo", "[]"))
	require.Equal(t, "3", string(c.reply().ID))
}

func TestWhoDoesNotReadItsRepliesInTimeIsNotHandedOver(t *testing.T) {
	r := newRelay(t)
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	first := r.serve(&Server{Methods: testMethods(t), Logger: logger})
	c, other := dialWire(t, r.path), dialWire(t, r.path)
	big := strings.Repeat("x", 8<<20)
	c.send(callFrame(1, "echo", `["`+big+`"]`))
	_, err := c.lines.Peek(1) // the rest does not fit into the socket's buffer
	require.NoError(t, err)
	other.send(callFrame(2, "echo", "[]"))
	other.reply()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	kept, err := first.Handover(ctx, 1<<20)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Len(t, kept, 1)
	_ = kept[0].Conn.Close()
	require.Contains(t, log.String(), "closing: it was not ready to be handed over in time")
}

// awaitRead waits until the server has read all that c has sent.
func awaitRead(t *testing.T, c *wireConn) {
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		left := -1
		require.NoError(t, raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }))
		require.NoError(t, err)
		return left == 0
	}, patience, time.Millisecond)
}

func TestMoreInputThanCanBeHandedOverIsRefused(t *testing.T) {
	r := newRelay(t)
	first := r.serve(&Server{Methods: testMethods(t)})
	small, large := dialWire(t, r.path), dialWire(t, r.path)
	small.send("[1,")
	large.send(strings.Repeat(" ", 30_000))
	for _, c := range []*wireConn{small, large} { // what it has sent was read
		awaitRead(t, c)
	}
	kept, err := first.Handover(context.Background(), 100)
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, "[1,", string(kept[0].Input))
	_ = kept[0].Conn.Close()
	got := large.reply()
	require.Equal(t, CodeShuttingDown, got.Error.Code)
	require.Equal(t, "no", got.Error.Data["executed"])
	large.eof()
}

func TestAHandoverAfterShutdownKeepsNothing(t *testing.T) {
	r := newRelay(t)
	first := r.serve(&Server{Methods: testMethods(t)})
	c := dialWire(t, r.path)
	c.send(callFrame(1, "echo", "[]"))
	c.reply()
	require.NoError(t, first.Shutdown(context.Background()))
	kept, err := first.Handover(context.Background(), 1<<20)
	require.NoError(t, err)
	require.Empty(t, kept)
	c.eof()
}

func TestAConnectionThatOutlivedTheServerIsAdoptedByNone(t *testing.T) {
	r := newRelay(t)
	first := r.serve(&Server{Methods: testMethods(t)})
	c := dialWire(t, r.path)
	c.send(callFrame(1, "echo", "[]"))
	c.reply()
	kept, err := first.Handover(context.Background(), 1<<20)
	require.NoError(t, err)
	next := &Server{Methods: testMethods(t)}
	require.NoError(t, next.Close())
	next.Adopt(kept[0])
	require.Equal(t, CodeShuttingDown, c.reply().Error.Code)
	c.eof()
}

func TestAdoptDoesNotWaitForWhomItRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const uid = 70000
		n := newSimNet(10, new(fault))
		srv := &Server{Limits: Limits{MaxConnectionsPerUID: 1}}
		served, refused := n.dial(uid, 1), n.dial(uid, 2)
		refused.out = []byte("not read..") // by the client, who has had this from the last server
		start := time.Now()
		for _, end := range []*simEnd{served, refused} {
			srv.Adopt(Kept{Conn: end.simConn, Peer: &end.peer})
		}
		require.Zero(t, time.Since(start))
		time.Sleep(time.Second)
		_, _, _, ended := refused.state()
		require.True(t, ended)
		_, _, _, ended = served.state()
		require.False(t, ended)
		require.NoError(t, srv.Close())
		synctest.Wait()
	})
}
