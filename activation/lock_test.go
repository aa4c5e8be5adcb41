package activation

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// holdLock holds the lock of path as another start would, with this content.
func holdLock(t *testing.T, path, content string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path+lockSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	_, err = file.WriteString(content)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	return file
}

// deadPID returns the pid of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := command(t, "grandchild", nil)
	require.NoError(t, cmd.Run())
	return cmd.Process.Pid
}

func TestASecondBindIsToldWhoHoldsTheLock(t *testing.T) {
	parent := os.Getppid()
	for name, c := range map[string]struct {
		content string
		who     string
		waits   time.Duration
	}{
		"a live process":             {fmt.Sprintf("%d\n", parent), fmt.Sprintf("pid %d", parent), 0},
		"ourselves":                  {fmt.Sprintf("%d\n", os.Getpid()), fmt.Sprintf("pid %d", os.Getpid()), lockTimeout},
		"nobody has written yet":     {"", "pid unknown", lockTimeout},
		"a pid in the middle of it":  {strconv.Itoa(parent), "pid unknown", lockTimeout},
		"a dead pid from the past":   {fmt.Sprintf("%d\n", deadPID(t)), "pid unknown", lockTimeout},
		"something that is no pid":   {"me\n", "pid unknown", lockTimeout},
		"a number that is no pid":    {"-1\n", "pid unknown", lockTimeout},
		"more than a pid and a line": {fmt.Sprintf("%d\n4711\n", parent), fmt.Sprintf("pid %d", parent), 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(newDir(t), "a.sock")
			holdLock(t, path, c.content)
			requireNoNewDescriptors(t, func() {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					_, err := Bind(BindOptions{Path: path})
					requireRefusal(t, err, ErrAlreadyRunning, "already running, "+c.who+":", path+lockSuffix)
					require.Equal(t, c.waits, time.Since(start))
				})
			})
			require.Equal(t, c.content, string(must(os.ReadFile(path+lockSuffix))), "the holder's content stays")
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestABindWaitsForTheHolderToWriteItsPid(t *testing.T) {
	path := filepath.Join(newDir(t), "a.sock")
	file := holdLock(t, path, "")
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan error)
		go func() {
			_, err := Bind(BindOptions{Path: path})
			answer <- err
		}()
		<-time.After(lockTimeout / 2)
		must(file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getppid()), 0))
		requireRefusal(t, <-answer, ErrAlreadyRunning, fmt.Sprintf("pid %d:", os.Getppid()))
	})
}

func TestABindTakesOverFromAStartThatFails(t *testing.T) {
	path := filepath.Join(newDir(t), "a.sock")
	file := holdLock(t, path, "")
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan error)
		go func() {
			socket, err := Bind(BindOptions{Path: path})
			if err == nil {
				err = socket.Close()
			}
			answer <- err
		}()
		<-time.After(lockTimeout / 2)
		require.NoError(t, file.Close())
		require.NoError(t, <-answer)
	})
}

func TestALockFileThatIsNotOursIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		put   func(t *testing.T, path string)
		kind  error
		parts []string
		root  bool
	}{
		"a symbolic link": {
			put: func(t *testing.T, path string) {
				require.NoError(t, os.WriteFile(path+".target", []byte("precious"), 0o600))
				require.NoError(t, os.Symlink(path+".target", path))
			},
			kind: ErrCannotCreate, parts: []string{"is a symbolic link"},
		},
		"a dangling symbolic link": {
			put:  func(t *testing.T, path string) { require.NoError(t, os.Symlink("nowhere", path)) },
			kind: ErrCannotCreate, parts: []string{"is a symbolic link"},
		},
		"a directory": {
			put:  func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
			kind: ErrCannotCreate, parts: []string{"is a directory"},
		},
		"a fifo": {
			put:  func(t *testing.T, path string) { require.NoError(t, unix.Mkfifo(path, 0o600)) },
			kind: ErrCannotCreate, parts: []string{"is a fifo"},
		},
		"a socket": {
			put:  putStale,
			kind: ErrCannotCreate, parts: []string{"is a socket"},
		},
		"a second name of a file of ours": {
			put: func(t *testing.T, path string) {
				require.NoError(t, os.WriteFile(path+".target", []byte("precious"), 0o600))
				require.NoError(t, os.Link(path+".target", path))
			},
			kind: ErrCannotCreate, parts: []string{"2 hard links"},
		},
		"another user's": {
			put: func(t *testing.T, path string) {
				require.NoError(t, os.WriteFile(path, nil, 0o600))
				require.NoError(t, os.Chown(path, 12345, 12345))
			},
			kind: ErrNotPermitted, parts: []string{"owned by uid 12345", "expected uid 0"}, root: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root {
				needsRoot(t)
			}
			path := filepath.Join(newDir(t), "a.sock")
			c.put(t, path+lockSuffix)
			before := lstat(t, path+lockSuffix)
			requireNoNewDescriptors(t, func() {
				_, err := Bind(BindOptions{Path: path})
				requireRefusal(t, err, c.kind, append(c.parts, path+lockSuffix)...)
			})
			require.Equal(t, before.Ino, lstat(t, path+lockSuffix).Ino)
			if content, err := os.ReadFile(path + lockSuffix + ".target"); err == nil {
				require.Equal(t, "precious", string(content))
			}
			require.NoFileExists(t, path)
		})
	}
}

func TestALockFileIsClosedToOthersEvenIfItWasOpenBefore(t *testing.T) {
	path := filepath.Join(newDir(t), "a.sock")
	require.NoError(t, os.WriteFile(path+lockSuffix, nil, 0o600))
	require.NoError(t, os.Chmod(path+lockSuffix, 0o666))
	bind(t, BindOptions{Path: path})
	require.Equal(t, os.FileMode(0o600), permissions(t, path+lockSuffix))
}

// An operator who tidies up takes away the lock, not the protection.
func TestALiveDaemonWhoseLockFileWasRemovedKeepsItsSocket(t *testing.T) {
	path := filepath.Join(newDir(t), "a.sock")
	first := bind(t, BindOptions{Path: path})
	require.NoError(t, os.Remove(path+lockSuffix))

	_, err := Bind(BindOptions{Path: path})
	requireRefusal(t, err, ErrAlreadyRunning, fmt.Sprintf("pid %d:", os.Getpid()))
	conn, err := first.Listener.Accept() // the probe
	require.NoError(t, err)
	conn.Close()
	requireAnswers(t, path, first.Listener)
}
