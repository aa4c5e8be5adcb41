package rpc

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// onSimNet runs f in fake time with a server on a simulated network.
func onSimNet(t *testing.T, limits Limits, f func(t *testing.T, srv *Server, n *simNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := &Server{Methods: newExecutions().methods(1, true), Limits: limits}
		n := newSimNet(64<<10, new(fault))
		served := make(chan error, 1)
		go func() { served <- srv.Serve(&simListener{simNet: n}) }()
		f(t, srv, n)
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, ErrServerClosed)
	})
}

// takeAll returns what the server has sent once it has nothing more to do.
func (e *simEnd) takeAll() string {
	synctest.Wait()
	return string(e.take(1 << 20))
}

const simPing = `{"jsonrpc":"2.0","method":"control","params":{"token":"t"},"id":1}` + "\n"

// The deadline that passes while a frame is incomplete may be that of the idle
// connection, which was set before: the reader must set the frame's then.
func TestAFrameMayBeginShortlyBeforeTheIdleTimeout(t *testing.T) {
	limits := Limits{IdleTimeout: 100 * time.Millisecond, FrameTimeout: time.Second}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		c := n.dial(1000, 1)
		time.Sleep(90 * time.Millisecond)
		c.put([]byte(simPing[:10]))
		time.Sleep(500 * time.Millisecond)
		c.put([]byte(simPing[10:]))
		require.Contains(t, c.takeAll(), `"result":"t"`)
		c.put([]byte(simPing[:10]))
		time.Sleep(1001 * time.Millisecond)
		require.Contains(t, c.takeAll(), ReasonFrameTimeout)
	})
}

// While the server reads no further, because too many calls of the connection
// are in flight, the part of a frame that it has read can not become whole.
func TestAFrameThatTheServerDoesNotReadOnIsNotTooSlow(t *testing.T) {
	limits := Limits{MaxInFlightPerConnection: 1, FrameTimeout: 100 * time.Millisecond}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		c := n.dial(1000, 1)
		c.put([]byte(`{"jsonrpc":"2.0","method":"work","params":{"token":"slow","ms":1000},"id":7}` + "\n" + simPing[:10]))
		time.Sleep(50 * time.Millisecond)
		c.put([]byte(simPing[10:]))
		time.Sleep(2 * time.Second)
		got := c.takeAll()
		require.Contains(t, got, `"result":"slow"`)
		require.Contains(t, got, `"result":"t"`)
	})
}

func TestALimitThatIsLoweredWithinAFrameHoldsForIt(t *testing.T) {
	limits := Limits{MaxMessageBytes: 1 << 20}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		c := n.dial(1000, 1)
		require.Zero(t, c.fill(bytes.Repeat([]byte{'x'}, smallestBuffer)))
		limits.MaxMessageBytes = 2 << 10
		require.NoError(t, srv.SetLimits(limits))
		c.fill(bytes.Repeat([]byte{'x'}, 2*smallestBuffer))
		require.Contains(t, c.takeAll(), ReasonMessageTooLarge)
	})
}

// fill sends all of b, as far as the server reads it without waiting for time.
func (e *simEnd) fill(b []byte) (left int) {
	for n := 1; n > 0 && len(b) > 0; {
		n = e.put(b)
		b = b[n:]
		synctest.Wait()
	}
	return len(b)
}

// While memory is short a connection that holds much of it waits before it is read
// on. What it has begun to send is no reason: that becomes free by reading on.
func TestInputThatIsNotCompleteIsReadOnWhileMemoryIsShort(t *testing.T) {
	limits := Limits{MaxMessageBytes: 1 << 20, MaxBufferedBytes: 8 << 20, IdleTimeout: time.Hour, FrameTimeout: time.Hour}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		var clients []*simEnd
		for i := range 6 {
			c := n.dial(uint32(70_000+i), int32(i))
			require.Zero(t, c.fill(bytes.Repeat([]byte{'x'}, 300_000)))
			clients = append(clients, c)
		}
		require.Greater(t, srv.Stats().BufferedBytes, limits.MaxBufferedBytes/2)
		for _, c := range clients {
			require.Zero(t, c.fill([]byte("\n"+simPing[:10])))
			require.Contains(t, c.takeAll(), "no JSON")
		}
		for _, c := range clients {
			require.Zero(t, c.fill([]byte(simPing[10:])))
			require.Contains(t, c.takeAll(), `"result":"t"`)
		}
	})
}

// Lowered limits are beyond what is held: that alone costs nobody a connection who
// reads his replies.
func TestLowerLimitsCloseNoConnectionThatReads(t *testing.T) {
	limits := Limits{WriteTimeout: time.Hour, IdleTimeout: time.Hour}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		const size = 200_000
		call := []byte(fmt.Sprintf(`{"jsonrpc":"2.0","method":"work","params":{"token":"t","bytes":%d},"id":1}`+"\n", size))
		reads, stalls := n.dial(70_000, 1), n.dial(70_001, 2)
		for _, c := range []*simEnd{reads, stalls} {
			require.Zero(t, c.fill(call))
			require.NotEmpty(t, c.take(1000))
		}
		limits.MaxMessageBytes, limits.MaxBufferedBytes = 2<<10, 16<<10
		require.NoError(t, srv.SetLimits(limits))
		got := 0
		for {
			require.Zero(t, n.dial(70_002, 3).fill([]byte(simPing))) // others go on
			part := reads.takeAll()
			if got += len(part); part == "" {
				break
			}
			<-time.After(stallTime / 100)
		}
		require.Greater(t, got, size-1000)
		_, _, _, ended := stalls.state()
		require.False(t, ended)
		<-time.After(3 * stallTime)
		synctest.Wait()
		_, _, _, ended = stalls.state()
		require.True(t, ended, "more is held than may be, and the peer does not read")
		require.Less(t, srv.Stats().BufferedBytes, limits.MaxBufferedBytes)
		_, _, _, ended = reads.state()
		require.False(t, ended)
	})
}

// The replies to a batch are held until the last of them is there.
func TestABatchGoesOnWhileMemoryIsShort(t *testing.T) {
	limits := Limits{MaxMessageBytes: 1 << 20, MaxBufferedBytes: 8 << 20, IdleTimeout: time.Hour, FrameTimeout: time.Hour}
	onSimNet(t, limits, func(t *testing.T, srv *Server, n *simNet) {
		call := func(i int) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","method":"work","params":{"token":"%d","ms":1000,"bytes":60000},"id":%d}`, i, i)
		}
		var clients []*simEnd
		for i := range 6 {
			c := n.dial(uint32(70_000+i), int32(i))
			require.Zero(t, c.fill([]byte("["+strings.Repeat(" ", 900_000)+call(100*i)+","+call(100*i+1)+","+call(100*i+2)+","+call(100*i+3)+"]\n")))
			clients = append(clients, c)
		}
		require.Greater(t, srv.Stats().BufferedBytes, limits.MaxBufferedBytes/2)
		time.Sleep(5 * time.Second)
		for _, c := range clients {
			got := ""
			for part := c.takeAll(); part != ""; part = c.takeAll() {
				got += part
			}
			require.Equal(t, 4, strings.Count(got, `"result"`))
		}
	})
}

// Who takes the reading over flushes first, and may lose the role again there.
func TestAReaderThatLosesItsRoleTwiceFreesItsInput(t *testing.T) {
	onSimNet(t, Limits{MaxInFlightPerConnection: 1000}, func(t *testing.T, srv *Server, n *simNet) {
		c := n.dial(70_000, 1)
		work := func(i, ms, bytes int) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","method":"work","params":{"token":"%d","ms":%d,"bytes":%d},"id":%d}`+"\n", i, ms, bytes, i)
		}
		large := strings.Repeat(" ", 25_000) + simPing // gets a large buffer, and what follows stands in it
		require.Zero(t, c.fill([]byte(work(1, 0, 40_000))))
		require.Zero(t, c.fill([]byte(large+work(2, 0, 40_000)+work(3, 100, 0)+strings.Repeat(simPing, 400))))
		time.Sleep(50 * time.Millisecond) // the third call runs, and the reply to the second does not fit
		c.hangUp()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Zero(t, srv.Stats().BufferedBytes)
		require.Zero(t, srv.Stats().Connections)
	})
}

// Of the calls that wait for their method, each keeps the bound that it came with.
func TestABoundThatWasLoweredHoldsForTheCallsThatCameAfterIt(t *testing.T) {
	onSimNet(t, Limits{}, func(t *testing.T, srv *Server, n *simNet) {
		x := newExecutions()
		call := func(c *simEnd, id, ms int) {
			c.put(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"gated","params":{"token":"%d","ms":%d},"id":%d}`+"\n", id, ms, id))
			synctest.Wait()
		}
		answered := func(c *simEnd, id int) bool { return strings.Contains(c.takeAll(), fmt.Sprintf(`"id":%d`, id)) }
		var ends [5]*simEnd
		for i := range ends {
			ends[i] = n.dial(1000, int32(i))
		}
		srv.SetMethods(x.methods(3, true))
		call(ends[0], 0, 100)
		call(ends[1], 1, 200)
		srv.SetMethods(x.methods(1, true))
		call(ends[2], 2, 10)
		srv.SetMethods(x.methods(3, true))
		call(ends[3], 3, 100)
		call(ends[4], 4, 100)
		time.Sleep(190 * time.Millisecond)
		require.True(t, answered(ends[0], 0))
		require.False(t, answered(ends[2], 2), "it has begun beside another, and is bound to run alone")
		time.Sleep(25 * time.Millisecond) // 215 ms
		require.True(t, answered(ends[1], 1))
		require.True(t, answered(ends[2], 2))
		time.Sleep(100 * time.Millisecond)
		require.True(t, answered(ends[3], 3))
		require.True(t, answered(ends[4], 4), "two may run, and it has waited alone")
		require.Empty(t, x.problems)
	})
}
