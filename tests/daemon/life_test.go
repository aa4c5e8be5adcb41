package daemon

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSIGTERMLetsARunningCallEnd(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	notify := listenNotify(t)
	p := command(t, "embedder", path)
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+notify.path)
	p.start()
	notify.until("READY=1")
	p.answers(path)
	c := dial(t, path)
	start := time.Now()
	c.send(`{"jsonrpc":"2.0","method":"slow","params":{"ms":2000},"id":1}`)
	c.send(`{"jsonrpc":"2.0","method":"slow","params":{"ms":0},"id":2}`)
	require.Contains(t, c.line(), `"id":2`) // so the first one runs
	p.signal(syscall.SIGTERM)
	// The stop is not instant: ask until the first refusal.
	for id := 3; ; id++ {
		c.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"slow","params":{"ms":0},"id":%d}`, id))
		if reply := c.line(); strings.Contains(reply, "error") {
			require.Equal(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"error":{"code":-32003,"message":"the server is shutting down","data":{"reason":"shutting_down","scope":"server","executed":"no"}}}`, id), reply)
			break
		}
	}
	require.Less(t, time.Since(start), 2*time.Second, "refused while the first call runs")
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"done"}`, c.line())
	rest, err := io.ReadAll(c.lines)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Zero(t, p.exit(), p.said())
	gone(t, path)
}

func TestADrainWritesTheLastByteOfAReply(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	notify := listenNotify(t)
	p := command(t, "marianned", "serve", "--socket", path)
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+notify.path)
	p.start()
	notify.until("READY=1")
	c := dial(t, path)
	text := strings.Repeat("x", 15<<20)
	c.send(`{"jsonrpc":"2.0","method":"rpc.echo","params":["` + text + `"],"id":1}`)
	_, err := c.lines.Peek(1) // the reply is on its way, and does not fit into any buffer
	require.NoError(t, err)
	p.signal(syscall.SIGTERM)
	require.Contains(t, notify.until("STOPPING=1"), "STATUS=draining")
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":["`+text+`"]}`, c.line())
	require.Zero(t, p.exit(), p.said())
	gone(t, path)
}

func TestASecondSignalStopsAtOnce(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		path := filepath.Join(folder(t), "s")
		notify := listenNotify(t)
		p := command(t, "marianned", "serve", "--socket", path)
		p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+notify.path)
		p.start()
		notify.until("READY=1")
		c := dial(t, path)
		c.send(`{"jsonrpc":"2.0","method":"rpc.echo","params":["` + strings.Repeat("x", 15<<20) + `"],"id":1}`)
		_, err := c.lines.Peek(1) // and is never read to its end: the drain waits
		require.NoError(t, err)
		p.signal(sig)
		notify.until("STOPPING=1")
		start := time.Now()
		p.signal(sig)
		require.Zero(t, p.exit(), p.said())
		require.Less(t, time.Since(start), 5*time.Second) // not the write timeout, not the drain's
		require.Contains(t, p.said(), "stopping at once")
		gone(t, path)
	}
}

func TestSIGHUPEndsNothing(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	c := dial(t, path)
	p.signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return strings.Contains(p.said(), "reloaded") }, patience, time.Millisecond)
	require.Equal(t, "ok", c.result(`{"jsonrpc":"2.0","method":"daemon.health","id":1}`)["status"])
}

func TestSIGHUPReloadsTheConfiguration(t *testing.T) {
	path, file := filepath.Join(folder(t), "s"), filepath.Join(folder(t), "marianned.toml")
	require.NoError(t, os.WriteFile(file, []byte("max_batch = 5\n"), 0o600))
	p := serve(t, path, "--config", file)
	c := dial(t, path)
	maxBatch := func() any {
		limits := c.result(`{"jsonrpc":"2.0","method":"daemon.status","id":1}`)["limits"]
		return limits.(map[string]any)["max_batch"]
	}
	require.EqualValues(t, 5, maxBatch())

	require.NoError(t, os.WriteFile(file, []byte("max_batch = 6\nmax_bach = 7\n"), 0o600))
	p.signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return strings.Contains(p.said(), file+":2:1: unknown key") }, patience, time.Millisecond)
	require.EqualValues(t, 5, maxBatch())

	require.NoError(t, os.WriteFile(file, []byte("max_batch = 6\n"), 0o600))
	p.signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return maxBatch() == 6.0 }, patience, time.Millisecond)
}

func TestDaemonShutdownIsForItsOwnUserAndRoot(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	c := dial(t, path)
	require.Equal(t, map[string]any{"shutting_down": true}, c.result(`{"jsonrpc":"2.0","method":"daemon.shutdown","params":{"graceful":true},"id":1}`))
	require.Zero(t, p.exit(), p.said())
	gone(t, path)

	needsRoot(t)
	path = filepath.Join(folder(t), "s")
	p = serve(t, path, "--mode", "0666")
	stranger := command(t, "marianned", "call", "--socket", path, "daemon.shutdown").as(nobody).start()
	require.Equal(t, 1, stranger.exit())
	require.Contains(t, stranger.said(), "-32601")
	p.answers(path)
}
