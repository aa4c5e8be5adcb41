package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/conffile"
)

// tree is a place for folders of configuration.
type tree struct {
	t   *testing.T
	dir string
}

func newTree(t *testing.T) tree {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return tree{t, dir}
}

// write makes a file and returns its path.
func (tr tree) write(name, text string) string {
	tr.t.Helper()
	path := filepath.Join(tr.dir, name)
	require.NoError(tr.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(tr.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// options read etc and lib of the tree, whoever may write to what is above it.
func (tr tree) options() Options {
	return Options{
		Folders:     []string{filepath.Join(tr.dir, "etc"), filepath.Join(tr.dir, "lib")},
		Environment: []string{"HOME=/root"},
		Trust:       &conffile.Trust{},
	}
}

func TestWithoutAnythingTheDefaultsHold(t *testing.T) {
	c, err := Load(newTree(t).options())
	require.NoError(t, err)
	require.Equal(t, Defaults(OwnInstance), c.Values)
	require.Empty(t, c.Files)
	for e := range c.All() {
		require.Equal(t, "default", e.Origin.String())
		require.False(t, c.IsSet(e.Name))
	}
}

func TestFlagsWinOverTheEnvironmentThatOverFilesThoseOverDefaults(t *testing.T) {
	tr := newTree(t)
	main := tr.write("etc/marianned.toml", "max_batch = 1\nmax_streams = 1\nqueue_timeout = \"1s\"\nwrite_timeout = \"1s\"\n")
	first := tr.write("lib/conf.d/10.toml", "max_streams = 2\nqueue_timeout = \"2s\"\nwrite_timeout = \"2s\"\n")
	second := tr.write("etc/conf.d/20.toml", "\nqueue_timeout = \"3s\"\nwrite_timeout = \"3s\"\n")
	opts := tr.options()
	opts.Environment = []string{"MARIANNED_QUEUE_TIMEOUT=4s", "MARIANNED_WRITE_TIMEOUT=4s", "MARIANNED_LOG_LEVEL="}
	opts.Flags = map[string]string{"write-timeout": "5s", "help": "true"}
	c, err := Load(opts)
	require.NoError(t, err)

	want := Defaults(OwnInstance)
	want.Limits.MaxBatch = 1
	want.Limits.MaxStreams = 2
	want.Limits.QueueTimeout = 4 * time.Second
	want.Limits.WriteTimeout = 5 * time.Second
	require.Equal(t, want, c.Values)
	require.Equal(t, []string{main, first, second}, c.Files)
	for name, origin := range map[string]string{
		"max_batch": main + ":1:1", "max_streams": first + ":1:1", "queue_timeout": "$MARIANNED_QUEUE_TIMEOUT",
		"write_timeout": "--write-timeout", "log_level": "default", // an empty variable is as good as none
	} {
		require.Equal(t, origin, c.Origin(name).String())
	}
}

func TestAFileHidesThatOfItsNameInLaterFolders(t *testing.T) {
	tr := newTree(t)
	tr.write("lib/marianned.toml", "max_batch = 1\nmax_streams = 1\n")
	tr.write("etc/marianned.toml", "max_streams = 2\n")
	tr.write("lib/conf.d/a.toml", "max_connections = 1\n")
	tr.write("lib/conf.d/b.toml", "max_concurrent_requests = 1\n")
	tr.write("etc/conf.d/a.toml", "")
	require.NoError(t, os.Symlink(os.DevNull, filepath.Join(tr.dir, "etc/conf.d/b.toml")))
	c, err := Load(tr.options())
	require.NoError(t, err)
	want := Defaults(OwnInstance)
	want.Limits.MaxStreams = 2
	require.Equal(t, want, c.Values)
}

func TestOneFileCanStandForAll(t *testing.T) {
	tr := newTree(t)
	tr.write("etc/marianned.toml", "no = sense")
	opts := tr.options()
	opts.File = tr.write("my.toml", "max_batch = 7")
	c, err := Load(opts)
	require.NoError(t, err)
	require.Equal(t, []string{opts.File}, c.Files)
	require.Equal(t, 7, c.Limits.MaxBatch)
	opts.File = os.DevNull
	c, err = Load(opts)
	require.NoError(t, err)
	require.Equal(t, Defaults(OwnInstance), c.Values)
	opts.File = filepath.Join(tr.dir, "missing.toml")
	_, err = Load(opts)
	require.ErrorContains(t, err, "missing.toml: lstat: no such file or directory")
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	tr := newTree(t)
	main := tr.write("etc/marianned.toml", `max_conections = 5
max_batch = "many"
queue_timeout = 30
  idle_exit = "2s"
[limits]
max_streams = 3
`)
	broken := tr.write("etc/conf.d/a.toml", "max_streams = 1\nmode = \n")
	last := tr.write("etc/conf.d/b.toml", "mode = 660\nlog_level = \"loud\"\nsocket = [\"/a\"]\nmax_message_bytes = \"16MB\"")
	opts := tr.options()
	opts.Environment = []string{"MARIANNED_MAX_STREAMS=0"}
	opts.Flags = map[string]string{"drain-timeout": "soon"}
	_, err := Load(opts)
	require.ErrorIs(t, err, ErrInvalid)
	var findings conffile.Findings
	require.True(t, errors.As(err, &findings))

	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, len(findings))
	known := strings.Join(names(), ", ")
	require.Equal(t, []string{
		`$MARIANNED_MAX_STREAMS is 0, expected at least 1: nothing is unbounded`,
		`--drain-timeout is "soon", expected a duration with its unit, such as 30s or 1m30s`,
		broken + `:2:8: `,
		last + `:1:1: mode is an integer, expected a string such as "0660"`,
		last + `:2:1: log_level is "loud", expected one of: error, warning, info, debug`,
		last + `:3:1: socket is an array, expected a string`,
		last + `:4:1: max_message_bytes is "16MB", expected a number of bytes, or one with KiB, MiB or GiB, such as 16MiB`,
		main + `:1:1: unknown key "max_conections"; did you mean "max_connections"?`,
		main + `:2:1: max_batch is a string, expected a whole number`,
		main + `:3:1: queue_timeout is "30", expected a duration with its unit, such as 30s or 1m30s`,
		main + `:4:3: idle_exit is 2s, expected at least 5s, or 0 for never: the service manager gives up a socket that starts its service too often`,
		main + `:5:2: unknown key "limits"; expected one of: ` + known,
	}, slices.Concat(lines[:2], []string{lines[2][:len(broken)+6]}, lines[3:]))
}

func TestWhatFitsAloneMustFitTogether(t *testing.T) {
	tr := newTree(t)
	main := tr.write("etc/marianned.toml", "# large\nmax_message_bytes = \"200MiB\"\n")
	_, err := Load(tr.options())
	require.EqualError(t, err, main+":2:1: max_buffered_bytes (default) is 256MiB, expected at least twice max_message_bytes ("+
		main+":2:1), which is 200MiB: one large message must always get through")
	opts := tr.options()
	opts.Environment = []string{"MARIANNED_MAX_BUFFERED_BYTES=400MiB"}
	c, err := Load(opts)
	require.NoError(t, err)
	require.Equal(t, 200<<20, c.Limits.MaxMessageBytes)
}

func TestFilesThatOthersCanChangeAreRefused(t *testing.T) {
	tr := newTree(t)
	path := tr.write("etc/marianned.toml", "")
	opts := tr.options()
	opts.Trust = nil
	require.NoError(t, os.Chmod(path, 0o666))
	_, err := Load(opts)
	require.ErrorContains(t, err, "may be written by others")
}

func TestAMisspeltVariableIsAWarning(t *testing.T) {
	opts := newTree(t).options()
	opts.Environment = []string{"MARIANNED_MAX_BACH=5", "MARIANNED_UID=0", "MARIANNED_GID=0", "MARIANNED_USER=ann",
		"MARIANNED_METHOD=a.b", "MARIANNED_REQUEST_ID=7", "MARIANNED_PEER_UNIT=a.service", "MARIANNED_WORKER=x", "MARIANNED_SOAK=1"}
	c, err := Load(opts)
	require.NoError(t, err)
	require.EqualError(t, c.Warnings, "warning: $MARIANNED_MAX_BACH is no setting; did you mean $MARIANNED_MAX_BATCH?")
}

func TestFlagsCanBeCheckedAlone(t *testing.T) {
	require.NoError(t, CheckFlags(map[string]string{"max-batch": "5"}))
	require.EqualError(t, CheckFlags(map[string]string{"max-batch": "-1", "mode": "rw"}),
		"--mode is \"rw\", expected permission bits in octal, such as 0660\n--max-batch is -1, expected at least 1: nothing is unbounded")
}

func TestFilesCanBeCheckedAlone(t *testing.T) {
	tr := newTree(t)
	good := tr.write("a.toml", "max_batch = 1")
	bad := tr.write("b.toml", "max_batch = 0")
	small := tr.write("c.toml", "max_buffered_bytes = 2000")
	require.NoError(t, CheckFiles([]string{good}, conffile.Trust{}))
	err := CheckFiles([]string{good, bad, small}, conffile.Trust{})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, bad+":1:1: max_batch is 0")
	require.ErrorContains(t, err, small+":1:1: max_buffered_bytes ("+small+":1:1) is 2000, expected at least twice")
}

func TestAValueIsShownAsAFileHasIt(t *testing.T) {
	tr := newTree(t)
	tr.write("etc/marianned.toml", `group = "a\"\\\n"`)
	c, err := Load(tr.options())
	require.NoError(t, err)
	var lines []string
	for e := range c.All() {
		lines = append(lines, e.Name+" = "+e.TOML())
	}
	text := strings.Join(lines, "\n")
	require.Contains(t, text, `group = "a\"\\\u000A"`)
	require.Contains(t, text, "mode = \"0660\"\n")
	require.Contains(t, text, "max_batch = 100\n")
	require.Contains(t, text, "max_message_bytes = \"16MiB\"\n")
	require.Contains(t, text, "idle_exit = \"1m\"\n")

	opts := tr.options()
	opts.File = tr.write("again.toml", text)
	again, err := Load(opts)
	require.NoError(t, err)
	require.Equal(t, c.Values, again.Values, "what is shown can be read")

	for e := range c.All() {
		b, err := json.Marshal(e)
		require.NoError(t, err)
		switch e.Name {
		case "max_message_bytes":
			require.JSONEq(t, `{"name":"max_message_bytes","value":16777216,"origin":"default"}`, string(b))
		case "queue_timeout":
			require.JSONEq(t, `{"name":"queue_timeout","value":"30s","origin":"default"}`, string(b))
		}
	}
}

func TestAReloadKeepsWhatOnlyARestartChanges(t *testing.T) {
	tr := newTree(t)
	path := tr.write("etc/marianned.toml", "max_batch = 5\nmode = \"0600\"\n")
	old, err := Load(tr.options())
	require.NoError(t, err)
	tr.write("etc/marianned.toml", "\nmax_batch = 6\nlog_level = \"debug\"\nmode = \"0666\"\n")
	loaded, err := Load(tr.options())
	require.NoError(t, err)

	inForce, changes := loaded.Reloaded(old)
	require.Len(t, changes.Applied, 2)
	require.Equal(t, `log_level: "info" -> "debug"`, changes.Applied[0].String())
	require.Equal(t, `max_batch: 5 -> 6`, changes.Applied[1].String())
	require.Len(t, changes.Restart, 1)
	require.Equal(t, `mode: "0600" -> "0666"`, changes.Restart[0].String())

	want := loaded.Values
	want.Mode = 0o600
	require.Equal(t, want, inForce.Values)
	require.Equal(t, path+":2:1", inForce.Origin("max_batch").String())
	require.Equal(t, path+":2:1", inForce.Origin("mode").String(), "of the value that is in force")
	require.Equal(t, path+":4:1", loaded.Origin("mode").String(), "what was loaded has not changed")

	_, changes = loaded.Reloaded(inForce)
	require.Empty(t, changes.Applied)
	require.Len(t, changes.Restart, 1, "it is said at each reload")
}

func TestASystemsDaemonAndAUsersHaveTheirFolders(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/home/ann/.config")
	require.Equal(t, []string{"/home/ann/.config/marianned"}, UserInstance.Folders())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", "/home/ann")
	require.Equal(t, []string{"/home/ann/.config/marianned"}, UserInstance.Folders())
	t.Setenv("HOME", "")
	require.Empty(t, UserInstance.Folders())
	system := []string{"/etc/marianned", "/run/marianned", "/usr/lib/marianned"}
	require.Equal(t, system, SystemInstance.Folders())
	require.Equal(t, SystemSocket, Defaults(SystemInstance).Socket)

	t.Setenv("XDG_RUNTIME_DIR", "")
	require.Equal(t, system, OwnInstance.Folders(), "nobody is logged in")
	require.Empty(t, Defaults(UserInstance).Socket)
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	require.Equal(t, "/run/user/1000/marianned/marianned.sock", Defaults(UserInstance).Socket)
	require.Equal(t, os.Geteuid() != 0, OwnInstance.IsUser())
}
