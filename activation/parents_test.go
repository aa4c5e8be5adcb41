package activation

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAParentThatOthersCouldChangeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		// put prepares root and returns the path of the socket.
		put      func(t *testing.T, root string) string
		kind     error
		parts    func(root string) []string
		root     bool
		ordinary bool
	}{
		"a symbolic link": {
			put: func(t *testing.T, root string) string {
				require.NoError(t, os.MkdirAll(root+"/real/sub", 0o755))
				require.NoError(t, os.Symlink("real", root+"/link"))
				return root + "/link/sub/a.sock"
			},
			kind: ErrCannotCreate,
			parts: func(root string) []string {
				return []string{root + "/link is a symbolic link", "the real path is " + root + "/real/sub,"}
			},
		},
		"a symbolic link before a missing directory": {
			put: func(t *testing.T, root string) string {
				require.NoError(t, os.Mkdir(root+"/real", 0o755))
				require.NoError(t, os.Symlink(root+"/real", root+"/link"))
				return root + "/link/missing/a.sock"
			},
			kind:  ErrCannotCreate,
			parts: func(root string) []string { return []string{"the real path is " + root + "/real/missing,"} },
		},
		"a dangling symbolic link": {
			put: func(t *testing.T, root string) string {
				require.NoError(t, os.Symlink("nowhere", root+"/link"))
				return root + "/link/a.sock"
			},
			kind:  ErrCannotCreate,
			parts: func(root string) []string { return []string{root + "/link is a symbolic link that leads nowhere"} },
		},
		"a regular file": {
			put: func(t *testing.T, root string) string {
				require.NoError(t, os.WriteFile(root+"/file", nil, 0o644))
				return root + "/file/a.sock"
			},
			kind:  ErrCannotCreate,
			parts: func(root string) []string { return []string{root + "/file is a regular file", "expected a directory"} },
		},
		"a directory that its group may write": {
			put:  withMode(0o775),
			kind: ErrNotPermitted,
			parts: func(root string) []string {
				return []string{root + "/dir may be written by group ", "0775", "chmod go-w"}
			},
		},
		"a directory that everybody may write": {
			put:   withMode(0o757),
			kind:  ErrNotPermitted,
			parts: func(root string) []string { return []string{root + "/dir may be written by everybody", "0757"} },
		},
		"an ancestor that everybody may write": {
			put: func(t *testing.T, root string) string {
				return filepath.Join(filepath.Dir(withMode(0o777)(t, root)), "sub", "a.sock")
			},
			kind:  ErrNotPermitted,
			parts: func(root string) []string { return []string{root + "/dir may be written by everybody"} },
		},
		"a sticky directory that everybody may write, as the last": {
			put:   withMode(0o777 | os.ModeSticky),
			kind:  ErrNotPermitted,
			parts: func(root string) []string { return []string{root + "/dir may be written by everybody", "1777"} },
		},
		"the shared temporary directory itself": {
			put: func(t *testing.T, root string) string {
				if filepath.Dir(root) != "/tmp" {
					t.Skip("needs TMPDIR to be /tmp")
				}
				return filepath.Join("/tmp", filepath.Base(root)+".sock")
			},
			kind:  ErrNotPermitted,
			parts: func(string) []string { return []string{"/tmp may be written by everybody", "/run/NAME"} },
		},
		"a directory of another user": {
			put: func(t *testing.T, root string) string {
				path := withMode(0o755)(t, root)
				require.NoError(t, os.Chown(filepath.Dir(path), 12345, 0))
				return path
			},
			kind: ErrNotPermitted, root: true,
			parts: func(root string) []string {
				return []string{root + "/dir is owned by uid 12345", "expected root or uid 0"}
			},
		},
		"a directory of root, for an ordinary user": {
			put:  func(*testing.T, string) string { return "/usr/activation-test.sock" },
			kind: ErrNotPermitted, ordinary: true,
			parts: func(string) []string { return []string{"/usr/activation-test.sock.lock", "must be writable by uid"} },
		},
		"a missing directory below one of root, for an ordinary user": {
			put:  func(*testing.T, string) string { return "/usr/activation-test/a.sock" },
			kind: ErrNotPermitted, ordinary: true,
			parts: func(string) []string { return []string{"make the directory /usr/activation-test"} },
		},
		"a directory that we may not enter": {
			put: func(t *testing.T, root string) string {
				require.NoError(t, os.Mkdir(root+"/dir", 0o000))
				return root + "/dir/sub/a.sock"
			},
			kind: ErrNotPermitted, ordinary: true,
			parts: func(root string) []string { return []string{root + "/dir/sub"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root {
				needsRoot(t)
			}
			if c.ordinary && asOrdinaryUser(t) {
				return
			}
			root := newDir(t)
			path := c.put(t, root)
			requireNoNewDescriptors(t, func() {
				_, err := Bind(BindOptions{Path: path})
				requireRefusal(t, err, c.kind, c.parts(root)...)
			})
			for _, p := range []string{path, path + lockSuffix} {
				_, err := os.Lstat(p)
				require.Error(t, err, "%s is not made", p)
			}
		})
	}
}

// withMode prepares a directory of this mode for the socket.
func withMode(mode os.FileMode) func(*testing.T, string) string {
	return func(t *testing.T, root string) string {
		t.Helper()
		require.NoError(t, os.Mkdir(root+"/dir", 0o755))
		require.NoError(t, os.Chmod(root+"/dir", mode))
		return root + "/dir/a.sock"
	}
}

func TestAParentThatOthersCannotChangeIsAccepted(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, root string) string{
		"ours alone": withMode(0o700),
		"sticky, as an ancestor": func(t *testing.T, root string) string {
			return filepath.Join(filepath.Dir(withMode(0o777|os.ModeSticky)(t, root)), "sub", "a.sock")
		},
		"sticky, shared with a group": withMode(0o775 | os.ModeSticky),
	} {
		t.Run(name, func(t *testing.T) {
			socket := bind(t, BindOptions{Path: put(t, newDir(t))})
			requireAnswers(t, socket.Path, socket.Listener)
		})
	}
}

func TestMissingParentsAreMadeForUsOnlyOrForAllAsRoot(t *testing.T) {
	root := newDir(t)
	bind(t, BindOptions{Path: root + "/a/b/c.sock"})
	want := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		want = 0o755
	}
	require.Equal(t, want, permissions(t, root+"/a"))
	require.Equal(t, want, permissions(t, root+"/a/b"))
}
