package peerunit

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestACgroupNamesTheUnit(t *testing.T) {
	for text, want := range map[string]units{
		"0::/\n":                            {},
		"0::/init.scope\n":                  {"init.scope", ""},
		"0::/system.slice/backup.service\n": {"backup.service", ""},
		"0::/system.slice/system-b.slice/b@1.service\n":            {"b@1.service", ""},
		"0::/system.slice/a.service/sub/b.service\n":               {"a.service", ""},
		"0::/system.slice/_cgroup.service\n":                       {"cgroup.service", ""},
		"0::/user.slice/user-7.slice/session-3.scope\n":            {"session-3.scope", ""},
		"0::/user.slice/user-7.slice/user@7.service/init.scope\n":  {"user@7.service", "init.scope"},
		"0::/u.slice/user@7.service/app.slice/x.service/y.service": {"user@7.service", "x.service"},
		"0::/docker/abc/x.service\n":                               {},
		"5:cpu:/x\n1:name=systemd:/a.slice/old.service\n0::/\n":    {"old.service", ""},
		"0::/system.slice/with:colon.service\n":                    {"with:colon.service", ""},
		"1:name=systemd:/\n0::/a.slice/new.service\n":              {"new.service", ""},
		"5:cpu:/x\n1:name=systemd:/old.service\n":                  {"old.service", ""},
		"12:memory:/system.slice/other.service\n0::/a.service/x\n": {"a.service", ""},
	} {
		got, err := parseCgroup(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "x", "0:/", "0::/../x.service\n", "0::x.service\n", "5:cpu:/x.service\n"} {
		_, err := parseCgroup(text)
		require.Error(t, err, text)
	}
}

// connected returns the daemon's end of a connection of program, which holds it
// until it is told to end.
func connected(t *testing.T, during func(nc net.Conn, peer *rpc.Peer, end func())) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3: another process connects")
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	cmd := exec.Command(python, "-c", "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nsys.stdin.read()", path)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := false
	end := func() {
		if !ended {
			ended = true
			_ = stdin.Close()
			require.NoError(t, cmd.Wait())
		}
	}
	defer end()
	nc, err := l.Accept()
	require.NoError(t, err)
	defer nc.Close()
	peer, err := rpc.PeerOf(nc)
	require.NoError(t, err)
	require.EqualValues(t, cmd.Process.Pid, peer.PID)
	during(nc, peer, end)
}

func TestAPeerIsInTheUnitOfItsProcess(t *testing.T) {
	connected(t, func(nc net.Conn, peer *rpc.Peer, _ func()) {
		text, err := os.ReadFile("/proc/self/cgroup")
		require.NoError(t, err)
		own, err := parseCgroup(string(text)) // which its child has too
		if err != nil {
			t.Skipf("needs a cgroup that can be seen: %v", err)
		}
		require.NoError(t, Identify(nc, peer))
		require.Equal(t, own, units{peer.Unit, peer.UserUnit})
		require.False(t, peer.UnitUnknown)
	})
}

func TestAPeerThatHasEndedHasNoUnitThatIsKnown(t *testing.T) {
	connected(t, func(nc net.Conn, peer *rpc.Peer, end func()) {
		end()
		require.Error(t, Identify(nc, peer))
		require.True(t, peer.UnitUnknown)
		require.Empty(t, peer.Unit)
	})
}

func TestAFileOfAnyLengthIsReadToItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cgroup")
	for _, n := range []int{0, 1, 511, 512, 513, 5000} {
		want := strings.Repeat("x", n)
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))
		got, err := readFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err := readFile(path + "?")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestWithoutAPidfdThePidMustBelongToTheSameUser(t *testing.T) {
	pidfd, err := pidfdByNumber(&rpc.Peer{UID: uint32(os.Geteuid()), PID: int32(os.Getpid())})
	require.NoError(t, err)
	require.True(t, exists(pidfd))
	require.NoError(t, os.NewFile(uintptr(pidfd), "").Close())
	_, err = pidfdByNumber(&rpc.Peer{UID: uint32(os.Geteuid()) + 1, PID: int32(os.Getpid())})
	require.ErrorContains(t, err, "another user")
}

func TestAPeerOutsideOfTheNamespaceIsUnknown(t *testing.T) {
	peer := new(rpc.Peer)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	require.ErrorContains(t, Identify(near, peer), "namespace")
	peer.PID = int32(os.Getpid())
	err := Identify(near, peer)
	require.True(t, strings.Contains(err.Error(), "expected a Unix socket"), err)
}

func TestAProcessIsWhoItWouldBeAsAPeer(t *testing.T) {
	connected(t, func(nc net.Conn, peer *rpc.Peer, _ func()) {
		_ = Identify(nc, peer) // what is unknown is unknown to both
		process, err := PeerOf(int(peer.PID))
		require.NoError(t, err)
		require.ElementsMatch(t, peer.Groups, process.Groups)
		process.Groups = peer.Groups // nil or empty
		require.Equal(t, peer, process)
	})
	_, err := PeerOf(1 << 30)
	require.ErrorIs(t, err, os.ErrNotExist)
}
