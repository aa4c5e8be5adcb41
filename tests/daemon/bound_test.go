package daemon

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	exitCreate  = 73
	exitRunning = 75
	exitNoPerm  = 77
	exitUsage   = 64
	exitConfig  = 78
)

func TestTheModeIs0660AndNeverWiderNotEvenUnderUmask0(t *testing.T) {
	for _, umask := range []string{"0", "022", "0777"} {
		t.Run("umask "+umask, func(t *testing.T) {
			for range 10 {
				path := filepath.Join(folder(t), "s")
				var stop atomic.Bool
				widest := make(chan fs.FileMode)
				go func() {
					var seen, last fs.FileMode
					for !stop.Load() {
						info, err := os.Lstat(path)
						if err != nil {
							continue
						}
						// One look may fall between two steps: what two agree on counts.
						if mode := info.Mode().Perm(); mode == last {
							seen |= mode
						}
						last = info.Mode().Perm()
					}
					widest <- seen
				}()
				p := command(t, "marianned", "serve", "--socket", path).wrapped("umask " + umask + `; exec "$@"`).start()
				p.answers(path)
				info, err := os.Lstat(path)
				require.NoError(t, err)
				require.Equal(t, fs.FileMode(0o660), info.Mode().Perm())
				p.signal(syscall.SIGTERM)
				require.Zero(t, p.exit(), p.said())
				stop.Store(true)
				require.Zero(t, <-widest&^0o660)
			}
		})
	}
}

func TestWhatStandsAtThePathIsLeftAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(t *testing.T, path string)
		code int
		says string
	}{
		"a regular file": {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600)) }, exitCreate, "a regular file"},
		"a directory":    {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o755)) }, exitCreate, "a directory"},
		"a symbolic link to a file": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path+".target", []byte("precious"), 0o600))
			require.NoError(t, os.Symlink(path+".target", path))
		}, exitCreate, "a symbolic link"},
		"a symbolic link to nothing": {func(t *testing.T, path string) { require.NoError(t, os.Symlink("/nonexistent/x", path)) }, exitCreate, "a symbolic link"},
		"another user's socket": {func(t *testing.T, path string) {
			needsRoot(t)
			stale(t, path)
			require.NoError(t, os.Chown(path, nobody, nobody))
		}, exitNoPerm, "a socket of uid 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			c.put(t, path)
			before, err := os.Lstat(path)
			require.NoError(t, err)
			command(t, "marianned", "serve", "--socket", path).start().refused(c.code, path, c.says, "left as it is")
			after, err := os.Lstat(path)
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
			require.Equal(t, before.Mode(), after.Mode())
			require.Equal(t, before.ModTime(), after.ModTime())
			if before.Mode().IsRegular() {
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, "precious", string(content))
			}
		})
	}
}

// stale leaves a socket that nobody listens on.
func stale(t *testing.T, path string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	p.signal(syscall.SIGKILL)
	p.exit()
	before, err := os.Lstat(path)
	require.NoError(t, err, "a killed daemon leaves its socket")
	serve(t, path)
	after, err := os.Lstat(path)
	require.NoError(t, err)
	require.NotEqual(t, before.ModTime(), after.ModTime())
}

func TestALiveDaemonIsNamedByItsPid(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	command(t, "marianned", "serve", "--socket", path).start().refused(exitRunning, fmt.Sprintf("already running, pid %d", p.cmd.Process.Pid))
	p.answers(path)
}

func TestOfTwoDaemonsStartedAtTheSameInstantOneServes(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	for round := range 200 {
		// Both wait for one pipe to end, so that they start together.
		r, w, err := os.Pipe()
		require.NoError(t, err)
		var both [2]*process
		for i := range both {
			p := command(t, "marianned", "serve", "--socket", path, "--log-level", "error").wrapped(`read x; exec "$@"`)
			p.cmd.Stdin = r
			both[i] = p.start()
		}
		require.NoError(t, r.Close())
		require.NoError(t, w.Close())
		var loser, winner *process
		select {
		case <-both[0].ended:
			loser, winner = both[0], both[1]
		case <-both[1].ended:
			loser, winner = both[1], both[0]
		case <-time.After(patience):
			t.Fatalf("round %d: both run\n%s\n%s", round, both[0].said(), both[1].said())
		}
		loser.refused(exitRunning, fmt.Sprintf("already running, pid %d", winner.cmd.Process.Pid))
		winner.answers(path)
		if round%2 == 0 { // the next two find a stale socket, or none
			winner.signal(syscall.SIGKILL)
			winner.exit()
		} else {
			winner.signal(syscall.SIGTERM)
			require.Zero(t, winner.exit(), winner.said())
		}
	}
}

func TestAtTheEndOnlyOurOwnNodeIsRemoved(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit(), p.said())
	gone(t, path)

	p = serve(t, path)
	require.NoError(t, os.Remove(path))
	stale(t, path)
	foreign, err := os.Lstat(path)
	require.NoError(t, err)
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit(), p.said())
	after, err := os.Lstat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(foreign, after))
}

func TestAPathThatCannotBeTrustedIsRefusedWithTheReason(t *testing.T) {
	dir := folder(t)
	open := filepath.Join(dir, "open")
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o777))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "link")))
	long := "/tmp/" + strings.Repeat("x", 108-len("/tmp/"))
	for name, c := range map[string]struct {
		path string
		code int
		says []string
	}{
		"108 bytes":              {long, exitUsage, []string{"108 bytes", "at most 107"}},
		"an abstract name":       {"@marianned", exitUsage, []string{"abstract"}},
		"a relative path":        {"run/s", exitUsage, []string{"relative"}},
		"a path that winds":      {dir + "/x/../s", exitUsage, []string{"not clean", dir + "/s"}},
		"a parent for everybody": {open + "/s", exitNoPerm, []string{open, "written by everybody"}},
		"a linked parent":        {dir + "/link/s", exitCreate, []string{dir + "/link", "symbolic link", dir + "/real"}},
	} {
		t.Run(name, func(t *testing.T) {
			command(t, "marianned", "serve", "--socket", c.path).start().refused(c.code, c.says...)
		})
	}
	require.NoFileExists(t, filepath.Join(dir, "s"))
}

func TestTheLockNamesTheDaemonAndStays(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	p := serve(t, path)
	content, err := os.ReadFile(path + ".lock")
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(p.cmd.Process.Pid)+"\n", string(content))
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit())
	require.FileExists(t, path+".lock")
}
