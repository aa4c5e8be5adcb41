package methods

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestShutdownSaysHowToStop(t *testing.T) {
	s := start(t, rpc.Limits{})
	c := s.dial(operator)
	for params, graceful := range map[string]bool{
		"": true, "{}": true, `{"graceful":true}`: true, `{"graceful":null}`: true,
		`{"graceful":false}`: false, `[false]`: false,
	} {
		require.JSONEq(t, `{"shutting_down":true}`, string(c.call("daemon.shutdown", params).Result), params)
		require.Equal(t, graceful, <-s.stops, params)
	}
}

func TestANotificationStopsTheDaemonToo(t *testing.T) {
	s := start(t, rpc.Limits{})
	s.dial(operator).send(`{"jsonrpc":"2.0","method":"daemon.shutdown","params":{"graceful":false}}`)
	require.False(t, <-s.stops)
}

// A stop at once answers what is in flight with an error: the call that asked
// for it must not be among that, however fast the stop is.
func TestAStopAtOnceIsAnsweredAllTheSame(t *testing.T) {
	for range 200 {
		s := start(t, rpc.Limits{})
		stopped := make(chan error, 1)
		go func() {
			<-s.stops
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			stopped <- s.server.Shutdown(ended)
		}()
		c := s.dial(operator)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"daemon.shutdown","params":{"graceful":false}}`)
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":{"shutting_down":true}}`, c.line())
		require.ErrorIs(t, <-stopped, context.Canceled)
	}
}
