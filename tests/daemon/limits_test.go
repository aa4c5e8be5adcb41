package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sockets counts the sockets that a process has open.
func sockets(pid int) int {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0 // it has ended
	}
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// strangers holds connections of another user: each is a socat whose input
// stays open.
func stranger(t *testing.T, path string) (*process, func(string), func() string) {
	t.Helper()
	p := command(t, "marianned").as(nobody)
	p.cmd.Path, p.cmd.Args = "/usr/bin/socat", []string{"socat", "-t0.1", "-", "UNIX-CONNECT:" + path}
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.start()
	send := func(line string) {
		_, err := in.Write([]byte(line + "\n"))
		require.NoError(t, err)
	}
	buf := make([]byte, 4096)
	return p, send, func() string {
		n, err := out.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
}

func TestAConnectionOverTheLimitWaitsIsServedOrIsToldWhy(t *testing.T) {
	needsRoot(t)
	if _, err := os.Stat("/usr/bin/socat"); err != nil {
		t.Skip("needs socat: apt-get install socat")
	}
	const limit = 5
	path := filepath.Join(folder(t), "s")
	p := serve(t, path, "--mode", "0666", "--max-connections", fmt.Sprint(limit), "--connection-wait-timeout", "2s")
	base := sockets(p.cmd.Process.Pid) // the listener, and what the log has
	var stop atomic.Bool
	widest := make(chan int)
	go func() {
		most := 0
		for !stop.Load() {
			most = max(most, sockets(p.cmd.Process.Pid)-base)
		}
		widest <- most
	}()

	const ping = `{"jsonrpc":"2.0","method":"rpc.ping","id":1}`
	var first *process
	for range limit {
		q, send, read := stranger(t, path)
		send(ping)
		require.Contains(t, read(), "pong")
		first = q
	}
	// One more waits, and is served once a place is free.
	_, send, read := stranger(t, path)
	send(ping)
	operator := dial(t, path)
	require.Eventually(t, func() bool {
		return operator.result(`{"jsonrpc":"2.0","method":"daemon.status","id":1}`)["waiting"] == 1.0
	}, patience, time.Millisecond)
	_ = first.cmd.Process.Kill()
	require.Contains(t, read(), "pong")

	// The next waits in vain, and is told so.
	_, send, read = stranger(t, path)
	send(ping)
	require.Contains(t, read(), `"code":-32001,"message":"all 5 connections are taken","data":{"reason":"max_connections","scope":"server","limit":5`)

	// A crowd does not get further than the room, and root gets through it.
	for range 20 {
		stranger(t, path)
	}
	start := time.Now()
	status := dial(t, path).result(`{"jsonrpc":"2.0","method":"daemon.status","id":1}`)
	require.Less(t, time.Since(start), time.Second)
	require.GreaterOrEqual(t, status["connections"], 6.0)
	stop.Store(true)
	require.LessOrEqual(t, <-widest, limit+8)
}
