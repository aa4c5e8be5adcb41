package activation

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// receivedWith is received with the descriptors that came along.
func receivedWith(t *testing.T, conn *net.UnixConn) (text string, files []*os.File) {
	t.Helper()
	buf, oob := make([]byte, 8192), make([]byte, 1024)
	n, m, _, _, err := conn.ReadMsgUnix(buf, oob)
	require.NoError(t, err)
	messages, err := syscall.ParseSocketControlMessage(oob[:m])
	require.NoError(t, err)
	for _, message := range messages {
		fds, err := syscall.ParseUnixRights(&message)
		require.NoError(t, err)
		for _, fd := range fds {
			file := os.NewFile(uintptr(fd), "received")
			t.Cleanup(func() { file.Close() })
			files = append(files, file)
		}
	}
	return string(buf[:n]), files
}

func notified(t *testing.T) (*Notifier, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(newDir(t), "notify")
	conn := manager(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	return newNotifier(t), conn
}

func TestADescriptorIsGivenToTheServiceManagerAndTakenBack(t *testing.T) {
	n, conn := notified(t)
	file := temporary(t, "kept")
	require.NoError(t, n.Store("stored-file", file))
	require.NoError(t, file.Close())
	text, files := receivedWith(t, conn)
	require.Equal(t, "FDSTORE=1\nFDNAME=stored-file", text)
	require.Len(t, files, 1)
	content := make([]byte, 4)
	_, err := files[0].ReadAt(content, 0)
	require.NoError(t, err)
	require.Equal(t, "kept", string(content))

	require.NoError(t, n.Unstore("stored-file"))
	text, files = receivedWith(t, conn)
	require.Equal(t, "FDSTOREREMOVE=1\nFDNAME=stored-file", text)
	require.Empty(t, files)
}

func TestAStoredDescriptorNeedsANameThatTellsItFromASocket(t *testing.T) {
	n, _ := notified(t)
	for _, name := range []string{"", "rpc", "x-stored-", "stored-a:b", "stored-a b", "stored-\n", "stored-é"} {
		require.ErrorContains(t, n.Store(name, temporary(t, "")), "expected a name that begins with", name)
	}
	closed := temporary(t, "")
	require.NoError(t, closed.Close())
	require.ErrorContains(t, n.Store("stored-a", closed), "closed")
}

func TestABarrierWaitsForTheServiceManager(t *testing.T) {
	n, conn := notified(t)
	passed := make(chan error, 1)
	go func() { passed <- n.Barrier(10 * time.Second) }()
	text, files := receivedWith(t, conn)
	require.Equal(t, "BARRIER=1", text)
	require.Len(t, files, 1)
	select {
	case err := <-passed:
		t.Fatalf("the service manager still holds its end: %v", err)
	default:
	}
	require.NoError(t, files[0].Close())
	require.NoError(t, <-passed)

	require.ErrorIs(t, n.Barrier(time.Millisecond), os.ErrDeadlineExceeded)
}

func TestWithoutAServiceManagerNothingIsStored(t *testing.T) {
	var none *Notifier
	require.NoError(t, none.Store("stored-a", temporary(t, "")))
	require.NoError(t, none.Unstore("stored-a"))
	require.NoError(t, none.Barrier(0))
	limit, known := none.StoreLimit()
	require.Zero(t, limit)
	require.True(t, known)
}

func TestHowMuchTheServiceManagerStoresIsReadOnce(t *testing.T) {
	path := filepath.Join(newDir(t), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	for text, want := range map[string]int{"": -1, "520": 520, "0": 0, "-1": -1, "many": -1, "99999999": -1} {
		require.NoError(t, os.Setenv("NOTIFY_SOCKET", path)) // each reading unsets it
		require.NoError(t, os.Setenv("FDSTORE", text))
		n := newNotifier(t)
		limit, known := n.StoreLimit()
		require.Equal(t, want, limit, text)
		require.Equal(t, want >= 0, known)
		_, left := os.LookupEnv("FDSTORE")
		require.False(t, left)
	}
	n := newNotifier(t)
	limit, known := n.StoreLimit()
	require.Zero(t, limit, "nobody listens")
	require.True(t, known)
}
