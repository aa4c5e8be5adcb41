package rpc

import (
	"bufio"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// socketPair returns a connection of a server that nobody reads, and its peer.
func socketPair(t *testing.T) (server, client *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		nc, err := net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		t.Cleanup(func() { _ = nc.Close() })
		ends[i] = nc.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// TestAReplyIsNotCutInTwoByAnother: the socket takes a part of it, and another
// goroutine answers before the rest is written.
func TestAReplyIsNotCutInTwoByAnother(t *testing.T) {
	const other = `{"jsonrpc":"2.0","id":"other","result":1}`
	for name, write := range map[string]func(c *conn, answer func()){
		"written before the wait": func(c *conn, answer func()) {
			c.onWrite = func(fd uintptr) bool {
				defer answer() // which is left to who is writing
				return c.writeReady(fd)
			}
			c.writeAlone(c.rd)
			c.onWrite = c.writeReady
		},
		"written late": func(c *conn, answer func()) {
			require.NoError(t, c.raw.Read(func(fd uintptr) bool {
				require.False(t, c.writeLate(c.rd, int(fd)))
				return true
			}))
			answer()
		},
	} {
		t.Run(name, func(t *testing.T) {
			nc, client := socketPair(t)
			srv := &Server{}
			srv.init()
			defer srv.Close()
			c := newConn(srv, nc, &guest{peer: &Peer{}, account: newAccount(0)}, 1)
			require.NoError(t, c.raw.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1) // the smallest there is
			}))
			first, long := strings.Repeat("a", 1000), strings.Repeat("x", lateReply-1)
			_, err := nc.Write([]byte(first + "\n"))
			require.NoError(t, err)
			c.append(c.rd, []byte(long))
			write(c, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.out.put([]byte(other), newline)
				c.out.places++
				c.taken.Add(1)
			})
			require.True(t, c.rd.dirty)
			require.Less(t, len(c.out.chunks[0].b), len(long), "the socket took all of it")
			flushed := make(chan error, 1)
			go func() { flushed <- c.flushAsReader(c.rd) }()
			lines := bufio.NewReader(client)
			for _, want := range []string{first, long, other} {
				line, err := lines.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, want+"\n", line)
			}
			require.NoError(t, <-flushed)
			require.Zero(t, c.taken.Load())
			require.True(t, c.out.empty())
			require.Zero(t, c.unread.Load())
		})
	}
}
