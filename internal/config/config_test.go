package config

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/rpc"
)

func TestEveryLimitCanBeSetUnderTheNameThatItIsShownBy(t *testing.T) {
	var shown map[string]float64
	require.NoError(t, json.Unmarshal(methods.Limits(rpc.Limits{}), &shown))
	var fields []string
	limits := rpc.DefaultLimits()
	for _, s := range LimitSettings {
		fields = append(fields, s.Field)
		require.NotEmpty(t, s.Usage)
		name := strings.ReplaceAll(s.Flag, "-", "_")
		if count, duration := s.In(&limits); count != nil {
			require.Equal(t, shown[name], float64(*count))
			*count++
		} else {
			require.Equal(t, shown[name+"_seconds"], duration.Seconds())
			*duration++
		}
	}
	var all []string
	for i := range reflect.TypeFor[rpc.Limits]().NumField() {
		all = append(all, reflect.TypeFor[rpc.Limits]().Field(i).Name)
	}
	require.Equal(t, all, fields)
	for i := range all {
		require.NotEqual(t, reflect.ValueOf(rpc.DefaultLimits()).Field(i).Interface(), reflect.ValueOf(limits).Field(i).Interface())
	}
}

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
