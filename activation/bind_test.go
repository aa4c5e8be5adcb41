package activation

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

type bindArgs struct {
	Umask   int
	Options BindOptions
}

type bindReport struct {
	Outcome outcome
	GID     uint32
	// Permission bits of the node, the lock file, and the directory.
	Node, Lock, Parent fs.FileMode
}

// bindChild binds, reports, and holds the socket until its input ends.
func bindChild() error {
	var args bindArgs
	if err := childArgs(&args); err != nil {
		return err
	}
	syscall.Umask(args.Umask)
	socket, err := Bind(args.Options)
	report := bindReport{Outcome: outcomeOf(err)}
	if err == nil {
		var node, lock, parent unix.Stat_t
		for path, st := range map[string]*unix.Stat_t{
			socket.Path: &node, socket.Path + lockSuffix: &lock, filepath.Dir(socket.Path): &parent,
		} {
			if err := unix.Lstat(path, st); err != nil {
				return err
			}
		}
		report.GID = node.Gid
		report.Node = fs.FileMode(node.Mode & 0o7777)
		report.Lock = fs.FileMode(lock.Mode & 0o7777)
		report.Parent = fs.FileMode(parent.Mode & 0o7777)
	}
	if err := writeJSON(os.Stdout, report); err != nil {
		return err
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	if socket != nil {
		return socket.Close()
	}
	return nil
}

func bind(t *testing.T, opts BindOptions) *Socket {
	t.Helper()
	socket, err := Bind(opts)
	require.NoError(t, err)
	t.Cleanup(func() { socket.Close() })
	return socket
}

func TestABoundSocketServesAtItsTruePath(t *testing.T) {
	path := filepath.Join(newDir(t), "a.sock")
	requireNoNewDescriptors(t, func() {
		socket, err := Bind(BindOptions{Path: path})
		require.NoError(t, err)
		require.Equal(t, "rpc", socket.Name)
		require.Equal(t, path, socket.Path)
		require.False(t, socket.Inherited)
		require.Equal(t, path, socket.Listener.Addr().String())
		require.Equal(t, DefaultMode, permissions(t, path))
		requireAnswers(t, path, socket.Listener)
		require.Equal(t, strconv.Itoa(os.Getpid()), readFile(t, path+lockSuffix))

		require.NoError(t, socket.Close())
		require.NoError(t, socket.Close(), "closing twice is no error")
	})
	require.NoFileExists(t, path)
	require.FileExists(t, path+lockSuffix, "the lock file stays")
	require.Empty(t, readFile(t, path+lockSuffix))

	bind(t, BindOptions{Path: path})
}

func TestAPathOfWhatUnixSocketsHoldIsServed(t *testing.T) {
	dir := newDir(t)
	path := filepath.Join(dir, strings.Repeat("s", MaxPathBytes-len(dir)-1))
	require.Len(t, path, 107)
	socket := bind(t, BindOptions{Path: path})
	require.Equal(t, path, socket.Listener.Addr().String())
	requireAnswers(t, path, socket.Listener)
}

func TestWhatCanNeverBeBoundIsAConfigurationError(t *testing.T) {
	dir := newDir(t)
	good := filepath.Join(dir, "a.sock")
	for name, c := range map[string]struct {
		opts  BindOptions
		parts []string
	}{
		"no path":             {BindOptions{}, []string{"no socket path", "absolute"}},
		"a relative path":     {BindOptions{Path: "a.sock"}, []string{`"a.sock" is relative`, "write it in full"}},
		"a path with ..":      {BindOptions{Path: dir + "/../a.sock"}, []string{"not clean", strconv.Quote(filepath.Dir(dir) + "/a.sock")}},
		"a path with //":      {BindOptions{Path: dir + "//a.sock"}, []string{"not clean", strconv.Quote(good)}},
		"a path ending in /":  {BindOptions{Path: good + "/"}, []string{"not clean", strconv.Quote(good)}},
		"the root":            {BindOptions{Path: "/"}, []string{"is /"}},
		"an abstract socket":  {BindOptions{Path: "@a"}, []string{`"@a" is an abstract socket`, "no permissions"}},
		"a leading NUL":       {BindOptions{Path: "\x00a"}, []string{`"\x00a" is an abstract socket`}},
		"a NUL within":        {BindOptions{Path: good + "\x00"}, []string{"contains a NUL"}},
		"a path of 108 bytes": {BindOptions{Path: dir + "/" + strings.Repeat("s", 108-len(dir)-1)}, []string{"108 bytes", "at most 107"}},
		"a group nobody made": {BindOptions{Path: good, Group: "no-such-group"}, []string{"no-such-group", "groupadd"}},
		"the group that means none to chown": {
			BindOptions{Path: good, Group: "4294967295"}, []string{"4294967295", "4294967294"},
		},
		"a mode with a set-user-ID bit": {BindOptions{Path: good, Mode: 0o4660}, []string{"0o4660", "0o660"}},
	} {
		t.Run(name, func(t *testing.T) {
			requireNoNewDescriptors(t, func() {
				_, err := Bind(c.opts)
				requireRefusal(t, err, ErrConfig, c.parts...)
			})
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, entries, "nothing is made")
		})
	}
}

func TestWhatStandsInTheWayIsLeftAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		put   func(t *testing.T, path string)
		kind  error
		parts []string
		root  bool
	}{
		"a regular file": {
			put:  func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600)) },
			kind: ErrCannotCreate, parts: []string{"is a regular file", "left as it is"},
		},
		"a directory": {
			put:  func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
			kind: ErrCannotCreate, parts: []string{"is a directory"},
		},
		"a fifo": {
			put:  func(t *testing.T, path string) { require.NoError(t, unix.Mkfifo(path, 0o600)) },
			kind: ErrCannotCreate, parts: []string{"is a fifo"},
		},
		"a symbolic link to a file": {
			put: func(t *testing.T, path string) {
				require.NoError(t, os.WriteFile(path+".target", nil, 0o600))
				require.NoError(t, os.Symlink(path+".target", path))
			},
			kind: ErrCannotCreate, parts: []string{"is a symbolic link"},
		},
		"a dangling symbolic link": {
			put:  func(t *testing.T, path string) { require.NoError(t, os.Symlink("/nowhere", path)) },
			kind: ErrCannotCreate, parts: []string{"is a symbolic link"},
		},
		"a symbolic link to a stale socket of ours": {
			put: func(t *testing.T, path string) {
				putStale(t, path+".target")
				require.NoError(t, os.Symlink(path+".target", path))
			},
			kind: ErrCannotCreate, parts: []string{"is a symbolic link"},
		},
		"a stale socket of another user": {
			put: func(t *testing.T, path string) {
				putStale(t, path)
				require.NoError(t, os.Lchown(path, 12345, 0))
			},
			kind: ErrNotPermitted, parts: []string{"a socket of uid 12345", "stale socket of uid 0", "left as it is"}, root: true,
		},
		"a live datagram socket": {
			put: func(t *testing.T, path string) {
				conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
				require.NoError(t, err)
				t.Cleanup(func() { conn.Close() })
			},
			kind: ErrCannotCreate, parts: []string{"another type than stream"},
		},
		"a live socket without the lock": {
			put: func(t *testing.T, path string) {
				l, err := net.Listen("unix", path)
				require.NoError(t, err)
				t.Cleanup(func() { l.Close() })
			},
			kind: ErrAlreadyRunning, parts: []string{fmt.Sprintf("already running, pid %d", os.Getpid()), "without our lock"},
		},
		"a live socket with a full backlog": {
			put: func(t *testing.T, path string) {
				server := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)
				require.NoError(t, unix.Bind(int(server.Fd()), &unix.SockaddrUnix{Name: path}))
				require.NoError(t, unix.Listen(int(server.Fd()), 0))
				for {
					client := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
					err := unix.Connect(int(client.Fd()), &unix.SockaddrUnix{Name: path})
					if err == unix.EAGAIN {
						return
					}
					require.NoError(t, err)
				}
			},
			kind: ErrAlreadyRunning, parts: []string{"already running, pid unknown", "backlog is full"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root {
				needsRoot(t)
			}
			path := filepath.Join(newDir(t), "a.sock")
			c.put(t, path)
			before := lstat(t, path)
			requireNoNewDescriptors(t, func() {
				_, err := Bind(BindOptions{Path: path})
				requireRefusal(t, err, c.kind, append(c.parts, path)...)
			})
			after := lstat(t, path)
			before.Atim, after.Atim = unix.Timespec{}, unix.Timespec{}
			require.Equal(t, before, after)

			require.NoError(t, os.RemoveAll(path))
			bind(t, BindOptions{Path: path}) // the failed start holds no lock
		})
	}
}

// putStale leaves a socket that nobody listens on.
func putStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
}

func TestTheSocketOfAKilledDaemonIsReplaced(t *testing.T) {
	path := filepath.Join(newDir(t), "a.sock")
	daemon := converse(t, command(t, "bind", bindArgs{Umask: 0o022, Options: BindOptions{Path: path}}))
	var report bindReport
	daemon.hear(&report)
	require.Empty(t, report.Outcome.Text)

	_, err := Bind(BindOptions{Path: path})
	requireRefusal(t, err, ErrAlreadyRunning, fmt.Sprintf("already running, pid %d:", daemon.cmd.Process.Pid), path+lockSuffix)

	daemon.kill()
	stale := lstat(t, path)
	require.Equal(t, strconv.Itoa(daemon.cmd.Process.Pid), readFile(t, path+lockSuffix))

	socket := bind(t, BindOptions{Path: path})
	require.NotEqual(t, stale.Ctim, lstat(t, path).Ctim)
	require.Equal(t, strconv.Itoa(os.Getpid()), readFile(t, path+lockSuffix))
	requireAnswers(t, path, socket.Listener)
}

func TestCloseUnlinksNothingButItsOwnNode(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s *Socket)
		remove string // a path relative to the directory that must be gone
		stays  string
	}{
		"the node is still its own": {change: func(*testing.T, *Socket) {}, remove: "d/a.sock"},
		"the listener was closed before": {
			change: func(t *testing.T, s *Socket) { require.NoError(t, s.Listener.Close()) }, remove: "d/a.sock",
		},
		"the node was removed": {change: func(t *testing.T, s *Socket) { require.NoError(t, os.Remove(s.Path)) }},
		"the directory was renamed": {
			change: func(t *testing.T, s *Socket) {
				dir := filepath.Dir(s.Path)
				require.NoError(t, os.Rename(dir, dir+"2"))
				require.NoError(t, os.Mkdir(dir, 0o755))
				putStale(t, s.Path)
			},
			remove: "d2/a.sock", stays: "d/a.sock",
		},
		"a file took its place": {
			change: func(t *testing.T, s *Socket) {
				require.NoError(t, os.Remove(s.Path))
				require.NoError(t, os.WriteFile(s.Path, nil, 0o600))
			},
			stays: "d/a.sock",
		},
		"another socket took its place, after the listener was closed": {
			change: func(t *testing.T, s *Socket) {
				require.NoError(t, s.Listener.Close())
				require.NoError(t, os.Remove(s.Path))
				putStale(t, s.Path)
			},
			stays: "d/a.sock",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := newDir(t)
			requireNoNewDescriptors(t, func() {
				socket, err := Bind(BindOptions{Path: filepath.Join(root, "d", "a.sock")})
				require.NoError(t, err)
				c.change(t, socket)
				require.NoError(t, socket.Close())
			})
			if c.remove != "" {
				require.NoFileExists(t, filepath.Join(root, c.remove))
			}
			if c.stays != "" {
				_, err := os.Lstat(filepath.Join(root, c.stays))
				require.NoError(t, err)
			}
		})
	}
}

func TestTheModeIsExactWhateverTheUmask(t *testing.T) {
	ownGroup := strconv.Itoa(os.Getegid())
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		for name, c := range map[string]struct {
			opts BindOptions
			want fs.FileMode
		}{
			"the default":                {BindOptions{}, 0o660},
			"0600":                       {BindOptions{Mode: 0o600}, 0o600},
			"0666":                       {BindOptions{Mode: 0o666}, 0o666},
			"a group that is denied":     {BindOptions{Mode: 0o606, Group: ownGroup}, 0o606},
			"a mode that denies even us": {BindOptions{Mode: 0o006}, 0o006},
		} {
			t.Run(fmt.Sprintf("umask %04o, %s", umask, name), func(t *testing.T) {
				c.opts.Path = filepath.Join(newDir(t), "made", "a.sock")
				child := converse(t, command(t, "bind", bindArgs{Umask: umask, Options: c.opts}))
				var report bindReport
				child.hear(&report)
				require.Empty(t, report.Outcome.Text)
				require.Equal(t, c.want, report.Node)
				require.Equal(t, fs.FileMode(0o600), report.Lock)
				parent := fs.FileMode(0o700)
				if os.Geteuid() == 0 {
					parent = 0o755
				}
				require.Equal(t, parent, report.Parent)
			})
		}
	}
}

func TestTheGroupIsSetByNumberAndByName(t *testing.T) {
	needsRoot(t)
	for group, gid := range map[string]uint32{"12345": 12345, "nogroup": 65534, "": 0} {
		t.Run("group "+strconv.Quote(group), func(t *testing.T) {
			path := filepath.Join(newDir(t), "a.sock")
			if group == "nogroup" {
				if content := readFile(t, "/etc/group"); !strings.Contains(content, "nogroup:") {
					t.Skip("needs a group named nogroup")
				}
			}
			bind(t, BindOptions{Path: path, Group: group})
			require.Equal(t, gid, lstat(t, path).Gid)
			require.Equal(t, DefaultMode, permissions(t, path))
		})
	}
}

func TestAGroupThatIsNotOursIsNotPermitted(t *testing.T) {
	if asOrdinaryUser(t) {
		return
	}
	path := filepath.Join(newDir(t), "a.sock")
	requireNoNewDescriptors(t, func() {
		_, err := Bind(BindOptions{Path: path, Group: "0"})
		requireRefusal(t, err, ErrNotPermitted, "to group 0", "member of the group")
	})
	require.NoFileExists(t, path, "what was made is removed")
}

type watchArgs struct {
	Options BindOptions
	Rounds  int
}

type watchReport struct {
	Looks int64
	Seen  []string // "gid mode", each once
}

// watchChild binds again and again under umask 0, while another thread looks
// at the path without a pause.
func watchChild() error {
	var args watchArgs
	if err := childArgs(&args); err != nil {
		return err
	}
	syscall.Umask(0)
	var stop atomic.Bool
	var report watchReport
	started, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		close(started)
		var last, recorded unix.Stat_t
		for !stop.Load() {
			report.Looks++
			var st unix.Stat_t
			if unix.Lstat(args.Options.Path, &st) != nil {
				continue
			}
			// stat(2) reads the owner before the mode and may fall between a
			// chown(2) and a chmod(2): only what two looks agree on has been.
			steady := st.Gid == last.Gid && st.Mode == last.Mode
			last = st
			if !steady || (st.Gid == recorded.Gid && st.Mode == recorded.Mode) {
				continue
			}
			recorded = st
			seen := fmt.Sprintf("%d %04o", st.Gid, st.Mode&0o7777)
			if !slices.Contains(report.Seen, seen) {
				report.Seen = append(report.Seen, seen)
			}
		}
	}()
	<-started
	for range args.Rounds {
		socket, err := Bind(args.Options)
		if err != nil {
			return err
		}
		if err := socket.Close(); err != nil {
			return err
		}
	}
	stop.Store(true)
	<-done
	return writeJSON(os.Stdout, report)
}

func TestTheModeIsNeverWiderThanAskedForNotForAnInstant(t *testing.T) {
	for name, c := range map[string]struct {
		opts BindOptions
		seen []string // allowed
		root bool
	}{
		"for the owner":  {BindOptions{Mode: 0o600}, []string{fmt.Sprintf("%d 0600", os.Getegid())}, false},
		"for our group":  {BindOptions{}, []string{fmt.Sprintf("%d 0660", os.Getegid())}, false},
		"another group":  {BindOptions{Group: "12345"}, []string{"0 0600", "12345 0600", "12345 0660"}, true},
		"a group denied": {BindOptions{Mode: 0o606, Group: "12345"}, []string{"0 0600", "12345 0600", "12345 0606"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root {
				needsRoot(t)
			}
			c.opts.Path = filepath.Join(newDir(t), "a.sock")
			var report watchReport
			run(t, command(t, "watch", watchArgs{Options: c.opts, Rounds: 300}), &report)
			require.NotEmpty(t, report.Seen, "%d looks", report.Looks)
			require.Subset(t, c.seen, report.Seen)
		})
	}
}

// startsChild binds the path of each line, reports, and closes at the next line.
func startsChild() error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var path string
		if err := json.Unmarshal(in.Bytes(), &path); err != nil {
			return err
		}
		socket, err := Bind(BindOptions{Path: path})
		if err := writeJSON(os.Stdout, outcomeOf(err)); err != nil {
			return err
		}
		if !in.Scan() {
			return in.Err()
		}
		if socket != nil {
			if err := socket.Close(); err != nil {
				return err
			}
		}
		if err := writeJSON(os.Stdout, "closed"); err != nil {
			return err
		}
	}
	return in.Err()
}

// requireOneWinner returns the index of the start that succeeded.
func requireOneWinner(t *testing.T, outcomes [2]outcome) int {
	t.Helper()
	winner, loser := 0, 1
	if outcomes[0].Text != "" {
		winner, loser = 1, 0
	}
	require.Empty(t, outcomes[winner].Text)
	require.Equal(t, []string{"ErrAlreadyRunning"}, outcomes[loser].Kinds, outcomes[loser].Text)
	require.Contains(t, outcomes[loser].Text, fmt.Sprintf("already running, pid %d:", outcomes[winner].PID))
	return winner
}

func TestOfTwoStartsAtTheSameInstantOneWins(t *testing.T) {
	dir := newDir(t)
	starts := [2]*conversation{converse(t, command(t, "starts", nil)), converse(t, command(t, "starts", nil))}
	for round := range 200 {
		// Half of the rounds find the lock file and half make it, and its directory.
		path := filepath.Join(dir, fmt.Sprintf("round%d", round/2), "a.sock")
		for _, s := range starts {
			s.say(path)
		}
		var outcomes [2]outcome
		for i, s := range starts {
			s.hear(&outcomes[i])
		}
		requireOneWinner(t, outcomes)
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		conn.Close()
		for _, s := range starts {
			s.say("close")
			s.hear(new(string))
		}
		require.NoFileExists(t, path)
	}
}

func TestOfTwoStartsAfterACrashOneWins(t *testing.T) {
	path := filepath.Join(newDir(t), "a.sock")
	for range 20 {
		starts := [2]*conversation{converse(t, command(t, "starts", nil)), converse(t, command(t, "starts", nil))}
		for _, s := range starts {
			s.say(path)
		}
		var outcomes [2]outcome
		for i, s := range starts {
			s.hear(&outcomes[i])
		}
		requireOneWinner(t, outcomes)
		for _, s := range starts {
			s.kill() // leaves the node, and a pid in the lock file
		}
		require.Equal(t, uint32(unix.S_IFSOCK), lstat(t, path).Mode&unix.S_IFMT)
	}
}
