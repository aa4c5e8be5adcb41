package rpc

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestALookoutFindsInputWhileProcessorsAreBusy: on a processor that always has
// something to run, who waits for input goes on once somebody looks.
func TestALookoutFindsInputWhileProcessorsAreBusy(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		ends[i], err = net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		defer func() { _ = ends[i].Close() }()
	}
	read := make(chan byte, 1)
	go func() {
		defer close(read)
		for b := make([]byte, 1); ; {
			if _, err := ends[0].Read(b); err != nil {
				return
			}
			read <- b[0]
		}
	}()
	var l lookout
	others := func() { // run, the reader among them, if it is ready
		for range 10 {
			runtime.Gosched()
		}
	}
	found := 0
	for i := range byte(200) {
		others()
		_, err := ends[1].Write([]byte{i})
		require.NoError(t, err)
		l.next = time.Time{}
		l.look()
		others()
		select {
		case got := <-read:
			require.Equal(t, i, got)
			found++
		default: // also if the kernel took the processor from who reads just then
			require.Equal(t, i, <-read)
		}
	}
	require.Greater(t, found, 100) // of 200; without a look next to none is

	require.WithinRange(t, l.next, time.Now().Add(-patience), time.Now().Add(patience))
	soon := time.Now().Add(time.Hour)
	l.next = soon
	l.look()
	require.Equal(t, soon, l.next, "a look so soon after the last")
	_ = ends[1].Close()
	<-read
	l.close()
	l.next = time.Time{}
	l.look()
	require.Zero(t, l.next, "a look after the end")
	require.Nil(t, l.event)
}
