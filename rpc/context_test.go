package rpc

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// left is how long the handler has, by its context.
func left(ctx context.Context, _ NoParams) (string, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return "", Errorf(-1, "no deadline")
	}
	return time.Until(deadline).String(), context.Cause(ctx)
}

// A call's time begins when its handler does, not when it or its connection came.
func TestADeadlineIsThatOfTheHandler(t *testing.T) {
	onSimNet(t, Limits{MaxConcurrentRequests: 1, RequestTimeout: 5 * time.Second}, func(t *testing.T, srv *Server, n *simNet) {
		srv.SetMethods(testMethods(t,
			&Method{Name: "left", Handler: Typed(left)},
			&Method{Name: "sleep", Handler: HandlerFunc(func(context.Context, *Request) (any, error) {
				time.Sleep(2 * time.Second)
				return nil, nil
			})},
			&Method{Name: "stream", Timeout: 7 * time.Second, Stream: func(ctx context.Context, _ *Request, _ *Stream) (any, error) {
				return left(ctx, NoParams{})
			}}))
		one, other := n.dial(1000, 1), n.dial(1000, 2)
		call := func(c *simEnd, method string) {
			c.put(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"%s","id":1}`+"\n", method))
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		call(other, "left")
		require.Contains(t, other.takeAll(), `"result":"5s"`)
		call(one, "sleep")
		call(other, "left") // waits for the slot
		require.Empty(t, other.takeAll())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Contains(t, other.takeAll(), `"result":"5s"`)
		call(other, "stream")
		require.Contains(t, other.takeAll(), `"result":"7s"`)
	})
}

// The longest timeout that can be written is as good as none.
func TestTheLongestTimeoutDoesNotPass(t *testing.T) {
	cl := &call{callContext: new(callContext), started: time.Second, timeout: math.MaxInt64}
	cl.setDeadline()
	require.Equal(t, time.Duration(math.MaxInt64), cl.deadline)

	onSimNet(t, Limits{RequestTimeout: math.MaxInt64}, func(t *testing.T, srv *Server, n *simNet) {
		srv.SetMethods(testMethods(t, &Method{Name: "wait", Handler: HandlerFunc(func(ctx context.Context, _ *Request) (any, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Hour): // another goroutine reads meanwhile, and the call has its timer
				return left(ctx, NoParams{})
			}
		})}))
		c := n.dial(1000, 1)
		time.Sleep(time.Second)
		c.put([]byte(`{"jsonrpc":"2.0","method":"wait","id":1}` + "\n"))
		time.Sleep(2 * time.Hour)
		reply := c.takeAll()
		require.Contains(t, reply, `"result":"`)
		require.False(t, strings.Contains(reply, `"-`), reply)
	})
}

// Who opened the connection before the clock was set has a deadline by the clock as it
// is now.
func TestADeadlineIsByTheClockAsItIsNow(t *testing.T) {
	opened := time.Now()
	wall := (*uint64)(unsafe.Pointer(&opened)) // of the seconds, above 30 bits of nanoseconds
	*wall -= 3600 << 30
	require.Less(t, time.Since(opened), time.Minute, "the monotonic clock is not to be set")
	require.Less(t, opened.Unix(), time.Now().Unix()-1800)

	cl := &call{callContext: &callContext{conn: &conn{opened: opened}}, timeout: time.Minute}
	cl.started = cl.conn.age()
	cl.setDeadline()
	deadline, _ := cl.Deadline()
	require.WithinDuration(t, time.Now().Add(time.Minute), deadline.Round(0), 30*time.Second)
	require.WithinDuration(t, time.Now().Add(time.Minute), deadline, 30*time.Second)
}
