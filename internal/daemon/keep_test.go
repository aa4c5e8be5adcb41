package daemon

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/rpc"
)

// dialSocket connects by a socket of the kernel, which alone can be kept.
func (f *fixture) dialSocket(l *memory) *client {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(f.t, err)
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		ends[i], err = net.FileConn(file)
		require.NoError(f.t, err)
		require.NoError(f.t, file.Close())
	}
	f.t.Cleanup(func() { _ = ends[0].Close() })
	require.NoError(f.t, ends[0].SetDeadline(time.Now().Add(patience)))
	l.conns <- ends[1]
	return &client{f.t, ends[0], bufio.NewReader(ends[0])}
}

const ping = `{"jsonrpc":"2.0","id":1,"method":"rpc.ping"}`

func (c *client) pings() {
	c.t.Helper()
	c.send(ping)
	require.Contains(c.t, c.line(), `"pong"`)
}

// startKeeping starts a daemon whose service manager keeps so many descriptors,
// which it leaves connections to.
func startKeeping(t *testing.T, limit int) *fixture {
	f := startAdjusted(t, Config{DrainTimeout: time.Minute, KeepConnections: true}, func(l *lifecycle) {
		l.notify.(*manager).storeLimit = limit
	})
	f.manager.until(t, "READY")
	t.Cleanup(func() {
		for _, file := range f.manager.stored() {
			_ = file.Close()
		}
	})
	return f
}

// startWith starts a daemon with what another has stored.
func startWith(t *testing.T, stored []*os.File) *fixture {
	return startAdjusted(t, Config{DrainTimeout: time.Minute}, func(l *lifecycle) { l.stored = stored })
}

func (m *manager) stored() []*os.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.store)
}

func (f *fixture) terminated(t *testing.T) []string {
	f.terminate <- syscall.SIGTERM
	require.NoError(t, <-f.ended)
	return f.manager.take()
}

func TestTheServiceManagerKeepsTheConnectionsForTheNextStart(t *testing.T) {
	f := startKeeping(t, 10)
	idle, cut := f.dialSocket(f.listener), f.dialSocket(f.admin)
	idle.pings()
	cut.pings()
	_, err := cut.conn.Write([]byte(`{"jsonrpc":"2.0","id":2,`))
	require.NoError(t, err)
	require.Equal(t, []string{"STORE stored-manifest", "STORE stored-connection", "STORE stored-connection", "BARRIER"}, withoutStatus(f.terminated(t))[1:])
	require.Regexp(t, `msg="left to the next start" connections=2`, f.log.String())

	next := startWith(t, f.manager.stored())
	idle.pings()
	require.Equal(t, []string{"UNSTORE stored-connection", "UNSTORE stored-manifest", "BARRIER"}, next.manager.take()[:3])
	require.Contains(t, next.log.String(), `msg="goes on with what the last process has left" connections=2`)
	cut.send(`"method":"rpc.ping"}`)
	require.Contains(t, cut.line(), `"id":2`)
	next.stop()
}

func TestAKeptPeerIsWhoItWas(t *testing.T) {
	peers := make(chan rpc.Peer, 2)
	who := func(l *lifecycle) {
		l.server.Authorize = func(p *rpc.Peer, m *rpc.Method) error { peers <- *p; return nil }
	}
	f := startAdjusted(t, Config{DrainTimeout: time.Minute, KeepConnections: true}, func(l *lifecycle) {
		who(l)
		l.notify.(*manager).storeLimit = 10
		l.server.Identify = func(_ net.Listener, _ net.Conn, p *rpc.Peer) error {
			p.Socket, p.Unit, p.UserUnit, p.UnitUnknown = "admin", "backup.service", "app.service", true
			return nil
		}
	})
	c := f.dialSocket(f.listener)
	c.pings()
	before := <-peers
	f.terminated(t)
	next := startAdjusted(t, Config{DrainTimeout: time.Minute}, func(l *lifecycle) { who(l); l.stored = f.manager.stored() })
	c.pings()
	require.Equal(t, before, <-peers)
	require.Equal(t, uint32(os.Geteuid()), before.UID)
	require.Equal(t, "backup.service", before.Unit)
	next.stop()
}

func TestConnectionsAreNotKeptWhereNothingGoesOn(t *testing.T) {
	for name, test := range map[string]struct {
		limit int
		end   func(f *fixture)
		keep  bool
	}{
		"not asked for":             {10, func(f *fixture) { f.terminate <- syscall.SIGTERM }, false},
		"an interrupt":              {10, func(f *fixture) { f.terminate <- os.Interrupt }, true},
		"daemon.shutdown":           {10, func(f *fixture) { f.l.stop(true) }, true},
		"the manager keeps nothing": {0, func(f *fixture) { f.terminate <- syscall.SIGTERM }, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := startAdjusted(t, Config{DrainTimeout: time.Minute, KeepConnections: test.keep}, func(l *lifecycle) {
				l.notify.(*manager).storeLimit = test.limit
			})
			c := f.dialSocket(f.listener)
			c.pings()
			test.end(f)
			require.NoError(t, <-f.ended)
			c.eof()
			require.Empty(t, f.manager.stored())
		})
	}
}

func TestMoreConnectionsThanTheServiceManagerKeepsAreClosed(t *testing.T) {
	f := startKeeping(t, 2)
	for range 3 {
		f.dialSocket(f.listener).pings()
	}
	f.terminated(t)
	require.Len(t, f.manager.stored(), 2, "one connection and the manifest")
	require.Contains(t, f.log.String(), `msg="connections are closed: FileDescriptorStoreMax= of the unit is 2, expected at least one more than the connections" connections=2`)
}

func TestConnectionsComeBackInTheirOrder(t *testing.T) {
	came := 0
	f := startAdjusted(t, Config{DrainTimeout: time.Minute, KeepConnections: true}, func(l *lifecycle) {
		l.notify.(*manager).storeLimit = 10
		l.server.Identify = func(_ net.Listener, _ net.Conn, p *rpc.Peer) error {
			came++
			p.Socket = strconv.Itoa(came)
			return nil
		}
	})
	var want []string
	var clients []*client
	for i := range 5 {
		clients = append(clients, f.dialSocket(f.listener))
		clients[i].pings()
		want = append(want, strconv.Itoa(i+1))
	}
	f.terminated(t)
	stored := f.manager.stored()
	slices.Reverse(stored) // the service manager promises no order
	next := startWith(t, stored)
	for _, c := range clients {
		c.pings()
	}
	var got []string
	for _, c := range next.l.server.Connections() {
		got = append(got, c.Peer.Socket)
	}
	require.Equal(t, want, got)
	next.stop()
}

func TestNothingIsLeftInAStoreThatFails(t *testing.T) {
	f := startKeeping(t, 10)
	c := f.dialSocket(f.listener)
	c.pings()
	f.manager.mu.Lock()
	f.manager.failures = map[string]error{"STORE " + storedConnection: errors.New("no buffer space")}
	f.manager.mu.Unlock()
	told := f.terminated(t)
	require.Contains(t, f.log.String(), `level=error msg="the connections are closed: the service manager can not keep them" connections=1 error="no buffer space"`)
	require.Equal(t, []string{"UNSTORE stored-connection", "UNSTORE stored-manifest", "BARRIER"}, told[len(told)-3:])
	c.eof()
}

// memoryFile returns a file as a manifest is one.
func memoryFile(t *testing.T, content string, seals int) *os.File {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), storedManifest)
	t.Cleanup(func() { _ = file.Close() })
	_, err = file.WriteString(content)
	require.NoError(t, err)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	require.NoError(t, err)
	return file
}

func TestConnectionsWithoutAManifestThatIsUnderstoodAreClosed(t *testing.T) {
	for name, test := range map[string]struct {
		manifest func(t *testing.T) *os.File
		said     string
	}{
		"none": {nil, "there is no manifest of connections"},
		"another version": {func(t *testing.T) *os.File {
			return memoryFile(t, `{"version":2,"connections":{}}`+"\n", manifestSeals)
		}, "it is of version 2, expected 1"},
		"empty":            {func(t *testing.T) *os.File { return memoryFile(t, "", manifestSeals) }, "its first line: EOF"},
		"no JSON":          {func(t *testing.T) *os.File { return memoryFile(t, "{\n", manifestSeals) }, "its first line: "},
		"may be changed":   {func(t *testing.T) *os.File { return memoryFile(t, `{"version":1}`+"\n", unix.F_SEAL_WRITE) }, "it is not a sealed memory file"},
		"other connection": {func(t *testing.T) *os.File { return memoryFile(t, `{"version":1}`+"\n", manifestSeals) }, "it is not in the manifest"},
		"cut off": {func(t *testing.T) *os.File {
			return memoryFile(t, `{"version":1,"connections":[{"cookie":1,"input_bytes":2}]}`+"\n1", manifestSeals)
		}, "it has 1 bytes of input for a connection that is said to have sent 2"},
		"less than nothing": {func(t *testing.T) *os.File {
			return memoryFile(t, `{"version":1,"connections":[{"cookie":1,"input_bytes":-2}]}`+"\n1", manifestSeals)
		}, "is said to have sent -2"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startKeeping(t, 10)
			c := f.dialSocket(f.listener)
			c.pings()
			f.terminated(t)
			stored := slices.DeleteFunc(f.manager.stored(), func(file *os.File) bool { return file.Name() == storedManifest })
			if test.manifest != nil {
				stored = append(stored, test.manifest(t))
			}
			next := startWith(t, stored)
			next.manager.until(t, "READY connections 0")
			c.eof()
			require.Contains(t, next.log.String(), test.said)
			next.dialSocket(next.listener).pings()
			next.stop()
		})
	}
}

func TestWhatCanNotBeForgottenIsNotHandledTwice(t *testing.T) {
	f := startKeeping(t, 10)
	c := f.dialSocket(f.listener)
	c.pings()
	f.terminated(t)
	next := startAdjusted(t, Config{DrainTimeout: time.Minute}, func(l *lifecycle) {
		l.stored = f.manager.stored()
		l.notify.(*manager).failures = map[string]error{"BARRIER": os.ErrDeadlineExceeded}
	})
	c.eof()
	require.Contains(t, next.log.String(), `msg="connections that the last process has left are closed" connections=1 error="i/o timeout"`)
	next.stop()
}

func TestAManifestIsReadAsItWasWritten(t *testing.T) {
	want := []keptConnection{
		{Cookie: 1<<64 - 1, Socket: "rpc", Unit: "a.service", UserUnit: "b.service", UnitUnknown: true, InputBytes: 3, input: []byte("a\nb")},
		{Cookie: 7, Socket: "admin", input: []byte{}},
		{Cookie: 8, InputBytes: 100_000, input: []byte(strings.Repeat("x", 100_000))},
	}
	file, err := writeManifest(want)
	require.NoError(t, err)
	defer file.Close()
	got, err := readManifest(file)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i, c := range want {
		c.place = i
		require.Equal(t, c, got[c.Cookie])
	}
	_, err = file.WriteAt([]byte("x"), 0)
	require.ErrorIs(t, err, unix.EPERM)
	var line struct{ Version int }
	content := make([]byte, 200)
	_, err = file.ReadAt(content, 0)
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(content), "},")
	require.NoError(t, json.Unmarshal([]byte(first+"}]}"), &line))
	require.Equal(t, manifestVersion, line.Version)
}
