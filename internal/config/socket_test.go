package config

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASocketThatWasAskedForIsTaken(t *testing.T) {
	t.Setenv(SocketVariable, "/run/from-environment")
	require.Equal(t, "/run/flag", AskedSocket("/run/flag"))
	require.Equal(t, "/run/flag", ClientSocket("/run/flag"))
	require.Equal(t, "/run/from-environment", AskedSocket(""))
	require.Equal(t, "/run/from-environment", ClientSocket(""))
	t.Setenv(SocketVariable, "") // as if it was not set
	require.Empty(t, AskedSocket(""))
}

func TestAClientPrefersItsUsersOwnDaemon(t *testing.T) {
	t.Setenv(SocketVariable, "")
	dir, err := os.MkdirTemp("", "config") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	require.Equal(t, SystemSocket, ClientSocket(""), "there is no other")

	own := filepath.Join(dir, "marianned", "marianned.sock")
	require.NoError(t, os.Mkdir(filepath.Dir(own), 0o700))
	require.NoError(t, os.WriteFile(own, nil, 0o600))
	require.Equal(t, SystemSocket, ClientSocket(""), "a file is no socket")
	require.NoError(t, os.Remove(own))

	l, err := net.Listen("unix", own)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, own, ClientSocket(""))

	if os.Geteuid() == 0 {
		require.NoError(t, os.Lchown(own, 65534, 65534))
		require.Equal(t, SystemSocket, ClientSocket(""), "another user's socket is not root's own")
	}
	t.Setenv("XDG_RUNTIME_DIR", "relative")
	require.Equal(t, SystemSocket, ClientSocket(""))
}

func TestADaemonsPlaceFollowsItsUser(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	path, err := DefaultServeSocket()
	require.NoError(t, err)
	if os.Geteuid() == 0 {
		require.Equal(t, SystemSocket, path)
		return
	}
	require.Equal(t, "/run/user/1000/marianned/marianned.sock", path)
	t.Setenv("XDG_RUNTIME_DIR", "")
	_, err = DefaultServeSocket()
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "--socket")
}
