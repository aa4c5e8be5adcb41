package activation

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// manager is the service manager's end.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn
}

func received(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 8192)
	n, err := conn.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

func newNotifier(t *testing.T) *Notifier {
	t.Helper()
	n, err := NewNotifier()
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

func TestEachStateIsOneDatagram(t *testing.T) {
	for kind, name := range map[string]string{
		"a path":           filepath.Join(newDir(t), "notify"),
		"an abstract name": "@activation-test-notify-" + strconv.Itoa(os.Getpid()),
		"the longest name": "@" + strconv.Itoa(os.Getpid()) + strings.Repeat("n", MaxPathBytes-1-len(strconv.Itoa(os.Getpid()))),
	} {
		t.Run(kind, func(t *testing.T) {
			conn := manager(t, name)
			t.Setenv("NOTIFY_SOCKET", name)
			n := newNotifier(t)
			require.True(t, n.Enabled())
			for _, c := range []struct {
				send func() error
				want string
			}{
				{func() error { return n.Ready("serving") }, "READY=1\nSTATUS=serving"},
				{func() error { return n.Ready("") }, "READY=1"},
				{func() error { return n.Stopping("draining 3") }, "STOPPING=1\nSTATUS=draining 3"},
				{func() error { return n.Status("500 connections") }, "STATUS=500 connections"},
				{func() error { return n.Status("") }, "STATUS="},
				{n.Watchdog, "WATCHDOG=1"},
				{func() error { return n.ExtendTimeout(10 * time.Second) }, "EXTEND_TIMEOUT_USEC=10000000"},
				{func() error { return n.Failed(syscall.EADDRINUSE, "already running") }, "ERRNO=98\nSTATUS=already running"},
				{func() error { return n.Failed(0, "bad configuration") }, "STATUS=bad configuration"},
			} {
				require.NoError(t, c.send())
				require.Equal(t, c.want, received(t, conn))
			}
		})
	}
}

func TestAStatusIsOneValidBoundedLine(t *testing.T) {
	path := filepath.Join(newDir(t), "notify")
	conn := manager(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	n := newNotifier(t)
	for name, c := range map[string]struct{ status, want string }{
		"newlines cannot begin an assignment": {"a\nSTOPPING=1\r\nb\x00c", "a STOPPING=1  b c"},
		"letters of all languages stay":       {"größer – 大", "größer – 大"},
		"bytes that are not UTF-8":            {"a\xff\xfeb", "a\uFFFDb"},
		"the longest":                         {strings.Repeat("x", MaxStatusBytes), strings.Repeat("x", MaxStatusBytes)},
		"one byte more":                       {strings.Repeat("x", MaxStatusBytes+1), strings.Repeat("x", MaxStatusBytes)},
		"a cut in the middle of a letter":     {"x" + strings.Repeat("ö", MaxStatusBytes), "x" + strings.Repeat("ö", MaxStatusBytes/2-1)},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, n.Ready(c.status))
			require.Equal(t, "READY=1\nSTATUS="+c.want, received(t, conn))
		})
	}
}

func TestWithoutAServiceManagerNothingIsSaid(t *testing.T) {
	for name, n := range map[string]*Notifier{"nil": nil, "no address": newNotifier(t)} {
		t.Run(name, func(t *testing.T) {
			require.False(t, n.Enabled())
			require.NoError(t, n.Ready("x"))
			require.NoError(t, n.Stopping("x"))
			require.NoError(t, n.Status("x"))
			require.NoError(t, n.Watchdog())
			require.NoError(t, n.ExtendTimeout(time.Second))
			require.NoError(t, n.Failed(syscall.EIO, "x"))
			require.Zero(t, n.WatchdogInterval())
			require.NoError(t, n.Close())
		})
	}
}

func TestTheServiceManagersVariablesAreTaken(t *testing.T) {
	for name, c := range map[string]struct {
		env      map[string]string
		enabled  bool
		watchdog time.Duration
		refused  string
	}{
		"an address": {env: map[string]string{"NOTIFY_SOCKET": "/run/notify"}, enabled: true},
		"no address": {env: map[string]string{"NOTIFY_SOCKET": ""}},
		"a watchdog for us": {
			env:     map[string]string{"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": strconv.Itoa(os.Getpid())},
			enabled: true, watchdog: 3 * time.Second,
		},
		"a watchdog for whoever reads it": {
			env:     map[string]string{"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1"},
			enabled: true, watchdog: time.Microsecond,
		},
		"a watchdog for another process": {
			env:     map[string]string{"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
			enabled: true,
		},
		"a relative address":      {env: map[string]string{"NOTIFY_SOCKET": "notify"}, refused: `NOTIFY_SOCKET is "notify"`},
		"a vsock address":         {env: map[string]string{"NOTIFY_SOCKET": "vsock:2:9"}, refused: `"vsock:2:9"`},
		"an address without name": {env: map[string]string{"NOTIFY_SOCKET": "@"}, refused: `"@"`},
		"an address too long":     {env: map[string]string{"NOTIFY_SOCKET": "/" + strings.Repeat("n", 107)}, refused: "108 bytes"},
		"a watchdog of no time":   {env: map[string]string{"WATCHDOG_USEC": "0"}, refused: `WATCHDOG_USEC is "0"`},
		"a watchdog of ages":      {env: map[string]string{"WATCHDOG_USEC": "9223372036854776"}, refused: "WATCHDOG_USEC"},
		"a watchdog of nobody":    {env: map[string]string{"WATCHDOG_USEC": "1", "WATCHDOG_PID": "x"}, refused: `WATCHDOG_PID is "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range c.env {
				t.Setenv(key, value)
			}
			requireNoNewDescriptors(t, func() {
				n, err := NewNotifier()
				require.Empty(t, managerVariables(), "all are unset")
				if c.refused != "" {
					requireRefusal(t, err, ErrConfig, c.refused)
					require.Nil(t, n)
					return
				}
				require.NoError(t, err)
				require.Equal(t, c.enabled, n.Enabled())
				require.Equal(t, c.watchdog, n.WatchdogInterval())
				require.NoError(t, n.Close())
			})
		})
	}
}

func TestAServiceManagerThatIsGoneIsAnErrorThatNamesItsAddress(t *testing.T) {
	path := filepath.Join(newDir(t), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	n := newNotifier(t)
	require.ErrorIs(t, n.Ready(""), syscall.ENOENT)
	require.ErrorContains(t, n.Ready(""), path)

	// It may come back: the address is looked up for every message.
	conn := manager(t, path)
	require.NoError(t, n.Ready(""))
	require.Equal(t, "READY=1", received(t, conn))

	require.NoError(t, n.Close())
	require.False(t, n.Enabled())
	require.NoError(t, n.Ready(""), "closed, it says nothing")
}

func TestMessagesOfManyGoroutinesStayWhole(t *testing.T) {
	path := filepath.Join(newDir(t), "notify")
	conn := manager(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	n := newNotifier(t)
	var wg sync.WaitGroup
	want := map[string]bool{}
	for i := range 50 {
		status := fmt.Sprintf("%d connections", i)
		want["STATUS="+status] = true
		wg.Go(func() {
			if err := n.Status(status); err != nil {
				t.Error(err)
			}
		})
	}
	got := map[string]bool{}
	for range 50 {
		got[received(t, conn)] = true
	}
	wg.Wait()
	require.Equal(t, want, got)
}

func TestAReloadIsToldWithItsTime(t *testing.T) {
	path := filepath.Join(newDir(t), "notify")
	conn := manager(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	n := newNotifier(t)
	now := func() int64 {
		var now unix.Timespec
		require.NoError(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
		return now.Nano() / 1000
	}
	before := now()
	require.NoError(t, n.Reloading())
	text, found := strings.CutPrefix(received(t, conn), "RELOADING=1\nMONOTONIC_USEC=")
	require.True(t, found, "one datagram")
	told, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	require.GreaterOrEqual(t, told, before)
	require.LessOrEqual(t, told, now())
}
