package rpc

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

func alive() *Method {
	return &Method{Name: "alive", Control: true, Handler: HandlerFunc(func(context.Context, *Request) (any, error) { return "yes", nil })}
}

func TestAProbeIsAnsweredAndLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		hang := func(context.Context, *Request) (any, error) {
			<-goOn
			return nil, nil
		}
		srv := &Server{Methods: testMethods(t, alive(), &Method{Name: "hang", Control: true, Handler: HandlerFunc(hang)})}
		n := newSimNet(64<<10, new(fault))
		served := make(chan error, 1)
		go func() { served <- srv.Serve(&simListener{simNet: n}) }()
		before, _ := srv.IdleSince()
		stats := srv.Stats()
		unwatch := srv.Monitor(func(e Event) { t.Errorf("found an event: %+v", e) })
		time.Sleep(time.Second)
		require.NoError(t, srv.Probe(t.Context(), "alive"))
		synctest.Wait()
		unwatch()
		require.Equal(t, stats, srv.Stats())
		since, idle := srv.IdleSince()
		require.True(t, idle)
		require.Equal(t, before, since)
		require.ErrorContains(t, srv.Probe(t.Context(), "no such"), "no such")

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorContains(t, srv.Probe(ctx, "hang"), "not answered")
		close(goOn)

		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, ErrServerClosed)
	})
}

// Whoever has its answer hangs up, and may do so before the server has returned
// from writing it. A line of the log for that is one for each look of a watchdog,
// for ever.
func TestAProbeIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		srv := &Server{Methods: testMethods(t, alive()), Logger: &logrus.Logger{Out: &log, Formatter: new(logrus.TextFormatter), Level: logrus.DebugLevel}}
		for range 200 {
			require.NoError(t, srv.Probe(t.Context(), "alive"))
		}
		synctest.Wait()
		require.NoError(t, srv.Close())
		require.Empty(t, log.String())
	})
}

// All slots taken and all connections open: that is load, and no reason to end
// the server.
func TestAProbeNeedsNoSlotAndNoPlace(t *testing.T) {
	onSimNet(t, Limits{MaxConnections: 1, MaxConcurrentRequests: 1}, func(t *testing.T, srv *Server, n *simNet) {
		srv.SetMethods(testMethods(t, alive(), &Method{Name: "sleep", Handler: HandlerFunc(func(ctx context.Context, _ *Request) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})}))
		c := n.dial(70_000, 1)
		require.Zero(t, c.fill([]byte(`{"jsonrpc":"2.0","method":"sleep","id":1}`+"\n")))
		n.dial(70_001, 2)
		synctest.Wait()
		require.Equal(t, 1, srv.Stats().Running)
		require.NoError(t, srv.Probe(t.Context(), "alive"))
	})
}

func TestAProbeSeesALockThatIsHeld(t *testing.T) {
	srv := &Server{Methods: testMethods(t, alive())}
	defer func() { require.NoError(t, srv.Close()) }()
	require.NoError(t, srv.Probe(t.Context(), "alive"))
	srv.adm.mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Error(t, srv.Probe(ctx, "alive"))
	srv.adm.mu.Unlock()
}
