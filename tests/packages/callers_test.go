package packages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
	"github.com/marianned/marianned/tests/box"
)

const socketPath = "/run/marianned/marianned.sock"

// message is what a caller sends, and gets back.
type message struct {
	ID string `json:"id"`
}

// callers call all the time, each over a connection of its own. One whose
// connection has ended connects anew and makes the call again, as long as it has
// not been executed.
type callers struct {
	path string
	stop context.CancelFunc
	wait sync.WaitGroup

	answered, again, connections atomic.Int64

	mu       sync.Mutex
	problems []string
}

// startCallers starts some, and waits until each of them has been answered. They
// end with the test at the latest.
func startCallers(t *testing.T, b *box.Box, count int) *callers {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &callers{path: b.Path(socketPath), stop: stop}
	var first sync.WaitGroup
	first.Add(count)
	for i := range count {
		c.wait.Go(func() { c.call(ctx, i, sync.OnceFunc(first.Done)) })
	}
	t.Cleanup(c.end)
	first.Wait()
	return c
}

// end waits for the last answers.
func (c *callers) end() {
	c.stop()
	c.wait.Wait()
}

// call calls until ctx ends, and tells of its first answer.
func (c *callers) call(ctx context.Context, name int, first func()) {
	defer first()
	var client *rpc.Client
	defer func() {
		if client != nil {
			_ = client.Close()
		}
	}()
	for number := 0; ctx.Err() == nil; {
		if client == nil {
			if client = c.connect(); client == nil {
				return
			}
		}
		sent, got := fmt.Sprintf("%d-%d", name, number), message{}
		err := c.echo(client, sent, &got)
		var failure *rpc.CallError
		switch {
		case err == nil && got.ID == sent:
			c.answered.Add(1)
			number++
			first()
		case err == nil:
			c.problem("%s was answered with %q", sent, got.ID)
			return
		case errors.As(err, &failure) && (failure.Executed == rpc.ExecutedNo || errors.Is(err, io.EOF)):
			// Refused, or not read: what was read is answered before a connection is
			// closed, which tests/systemd makes sure of.
			c.again.Add(1)
			_ = client.Close()
			client = nil
		default:
			c.problem("%s: %v", sent, err)
			return
		}
	}
}

func (c *callers) echo(client *rpc.Client, id string, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), box.Patience)
	defer cancel()
	return client.Call(ctx, "rpc.echo", message{id}, result)
}

// connect returns nil where nobody listens.
func (c *callers) connect() *rpc.Client {
	ctx, cancel := context.WithTimeout(context.Background(), box.Patience)
	defer cancel()
	client, err := rpc.Dial(ctx, c.path)
	if err != nil {
		c.problem("connect: %v", err)
		return nil
	}
	c.connections.Add(1)
	return client
}

func (c *callers) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// goOn waits until each call that was open has been answered, and many more: what
// happened before has not stopped them.
func (c *callers) goOn(t *testing.T) {
	t.Helper()
	before := c.answered.Load()
	box.Await(t, "the callers go on", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.problems) > 0 || c.answered.Load() > before+1000
	})
}

// lostNothing ends the callers and requires that each call was answered.
func (c *callers) lostNothing(t *testing.T, what string) {
	t.Helper()
	c.goOn(t)
	c.end()
	require.Empty(t, c.problems)
	t.Logf("%s: %d calls answered, %d made again, over %d connections", what, c.answered.Load(), c.again.Load(), c.connections.Load())
}

// noticedNothing ends the callers and requires that each call was answered at the
// first time, over the connection that its caller began with.
func (c *callers) noticedNothing(t *testing.T, what string, count int) {
	t.Helper()
	c.lostNothing(t, what)
	require.Zero(t, c.again.Load(), "calls that were made again")
	require.EqualValues(t, count, c.connections.Load(), "connections")
}

// daemon is what daemon.status tells.
type daemon struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

func status(t *testing.T, b *box.Box) (d daemon) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := rpc.Dial(ctx, b.Path(socketPath))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Call(ctx, "daemon.status", nil, &d))
	return d
}
