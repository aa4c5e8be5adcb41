package methods

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestPeersAreListedWithWhatTheyHold(t *testing.T) {
	held := newGate()
	s := start(t, rpc.Limits{MaxConcurrentRequests: 1}, &rpc.Method{Name: "held", Handler: held})
	s.server.Authorize = nil
	c := s.dial(stranger)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"held"}`)
	<-held.entered
	c.send(`{"jsonrpc":"2.0","id":2,"method":"held"}`)
	s.watch("")
	asker := s.dial(operator)
	var got peers
	require.Eventually(t, func() bool { // a call that has just begun may be left out
		asker.result("daemon.peers", &got)
		return got.Peers[0].InFlight == 2
	}, patience, time.Millisecond)
	first, second := got.Peers[0], got.Peers[1]
	require.Equal(t, []any{stranger.UID, stranger.GID, stranger.PID, uint64(1)}, []any{first.UID, first.GID, first.PID, first.Connection})
	require.Zero(t, first.Streams)
	require.Equal(t, operator.UID, second.UID)
	require.Equal(t, 1, second.Streams)
	require.Equal(t, 1, second.InFlight)
	close(held.open)
}
