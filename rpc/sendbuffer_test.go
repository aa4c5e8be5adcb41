package rpc

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestFewConnectionsHaveALargeSendBufferAndGiveItBackOnceTheyHaveRead(t *testing.T) {
	srv := &Server{Methods: testMethods(t)}
	path := startServer(t, srv)
	message := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"echo","params":["%s"]}`+"\n", strings.Repeat("x", 300<<10))
	read := make([]byte, 1)
	var unread []*wireConn
	for range maxSendBuffers + 4 {
		w := dialWire(t, path)
		w.send(message)
		_, err := io.ReadFull(w, read) // the reply has begun
		require.NoError(t, err)
		unread = append(unread, w)
	}
	assert.EqualValues(t, maxSendBuffers, srv.sendBuffers.Load())

	reader := unread[0]
	reader.line()
	reader.send(`{"jsonrpc":"2.0","id":2,"method":"rpc.ping"}` + "\n")
	reader.line()
	assert.EqualValues(t, maxSendBuffers-1, srv.sendBuffers.Load())
	for _, c := range srv.snapshot() {
		if c.sendBuffer.usual == 0 || c.sendBuffer.taken.Load() {
			continue
		}
		require.NoError(t, c.raw.Control(func(fd uintptr) {
			size, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
			assert.NoError(t, err)
			assert.Equal(t, c.sendBuffer.usual, size)
		}))
	}

	for _, w := range unread {
		require.NoError(t, w.Close())
	}
	require.Eventually(t, func() bool { return srv.sendBuffers.Load() == 0 }, patience, time.Millisecond)
}
