package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/rpc"
)

// idleExit is that of the stand-in below: the real daemon has a floor of 5 s.
const idleExit = 50 * time.Millisecond

// stepTimeout is more than the second for which the race detector delays an exit.
const stepTimeout = 4 * time.Second

// TestMain makes this program the daemon of the tests: a small one, which can
// be told to deviate. The real one is run by the tests of the built program.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "activate":
			fmt.Fprintln(os.Stderr, Activate(os.Args[2:]))
			os.Exit(1)
		case "daemon":
			os.Exit(standIn(os.Args[2]))
		}
	}
	goleak.VerifyTestMain(m)
}

func command(behaviour string) []string {
	return []string{os.Args[0], "activate", os.Args[0], "daemon", behaviour}
}

func standIn(behaviour string) int {
	fmt.Fprintln(os.Stderr, "stand-in:", behaviour)
	notifier, err := activation.NewNotifier()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if behaviour == "fails to start" {
		return 3
	}
	if behaviour == "ends without a word" {
		return 0
	}
	sockets, err := activation.Inherit()
	if err != nil || len(sockets) != 1 {
		fmt.Fprintln(os.Stderr, sockets, err)
		return 1
	}
	if behaviour == "hangs" {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		select {}
	}
	pid := os.Getpid()
	if behaviour == "answers for another" {
		pid++
	}
	var methods rpc.Methods
	methods.Handle(method, rpc.HandlerFunc(func(context.Context, *rpc.Request) (any, error) {
		if behaviour == "answers an error" {
			return nil, rpc.Errorf(-32000, "out of order")
		}
		return map[string]any{"status": "ok", "pid": pid}, nil
	}))
	server := &rpc.Server{Methods: &methods}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	served := make(chan struct{})
	go func() {
		_ = server.Serve(sockets[0].Listener)
		close(served)
	}()
	if behaviour != "is never ready" {
		_ = notifier.Ready("serving")
	}
	last := uint64(0)
	idleSince := time.Now()
	for stopped := false; !stopped; {
		select {
		case <-terminated:
			stopped = true
			_ = notifier.Stopping("told to")
			_ = server.Shutdown(context.Background())
		case <-time.After(10 * time.Millisecond):
			stats := server.Stats()
			if stats.Connections > 0 || stats.TotalConnections != last {
				last, idleSince = stats.TotalConnections, time.Now()
			}
			early := behaviour == "stops too early" && last > 0 && stats.Connections == 0
			if early || last > 0 && behaviour != "never stops" && time.Since(idleSince) > 2*idleExit {
				if server.ShutdownIfIdle() {
					stopped = true
					if behaviour != "stops without a word" {
						_ = notifier.Stopping("idle")
					}
				}
			}
		}
	}
	<-served
	_ = sockets[0].Close()
	if behaviour == "fails to stop" {
		return 4
	}
	return 0
}

// shortFolder is t.TempDir without the name of the test: a socket's path has
// room for 107 bytes.
func shortFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func run(t *testing.T, ctx context.Context, behaviour string, step, idle time.Duration) (string, error) {
	t.Helper()
	folder := shortFolder(t)
	var out bytes.Buffer
	err := Run(ctx, Options{
		Out:         &out,
		Command:     command(behaviour),
		IdleExit:    idle,
		StepTimeout: step,
		Folders:     []string{folder},
	})
	left, readErr := os.ReadDir(folder)
	require.NoError(t, readErr)
	require.Empty(t, left, "the demo left files behind")
	return out.String(), err
}

func TestTheDemoTellsTwoActivationsInOrder(t *testing.T) {
	out, err := run(t, t.Context(), "as it should", 10*time.Second, idleExit)
	require.NoError(t, err, out)
	rest := out
	for _, what := range []string{
		"listens on", "connected; nobody", "started the daemon", "STOPPING=1, STATUS=idle", "exited with code 0; the socket is still open",
		"connected again", "started the daemon", "SIGTERM", "STOPPING=1, STATUS=told to", "exited with code 0; the demo is over",
	} {
		_, after, found := strings.Cut(rest, what)
		require.True(t, found, "%q is missing, or not in its place:\n%s", what, out)
		rest = after
	}
	require.Equal(t, 2, strings.Count(out, "READY=1, STATUS=serving"), out)
	require.Equal(t, 2, strings.Count(out, method+" answered {"), out)
}

func TestADeviationFailsTheDemoWithTheDaemonsWords(t *testing.T) {
	for _, test := range []struct {
		behaviour string
		want      string
		idle      time.Duration // 0: idleExit
	}{
		{behaviour: "fails to start", want: "the daemon ended (exit status 3), expected READY=1"},
		{behaviour: "ends without a word", want: "the daemon ended (exit status 0), expected READY=1"},
		{behaviour: "hangs", want: "nothing for 4s, expected a reply from the daemon"},
		{behaviour: "is never ready", want: "expected READY=1 and a reply first"}, // it exits when idle
		{behaviour: "answers for another", want: "the daemon that was started"},
		{behaviour: "answers an error", want: "out of order"},
		{behaviour: "stops without a word", want: "without STOPPING=1"},
		{behaviour: "stops too early", want: "expected an idle exit after 1h", idle: time.Hour},
		{behaviour: "never stops", want: "expected STOPPING=1 from the daemon"},
		{behaviour: "fails to stop", want: "the daemon ended (exit status 4), expected exit code 0"},
	} {
		t.Run(test.behaviour, func(t *testing.T) {
			t.Parallel()
			idle := test.idle
			if idle == 0 {
				idle = idleExit
			}
			out, err := run(t, t.Context(), test.behaviour, stepTimeout, idle)
			require.ErrorContains(t, err, test.want, out)
			require.ErrorContains(t, err, "stand-in: "+test.behaviour, "the daemon's stderr belongs into the error")
		})
	}
}

func TestAProgramThatIsNotThereFailsTheDemo(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Options{Out: &out, Command: []string{"/nonexistent/marianned"}, Folders: []string{shortFolder(t)}})
	require.ErrorContains(t, err, "start the daemon")
}

// stopAfter cancels when it has written a line with the given text.
type stopAfter struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (s *stopAfter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.text) {
		s.cancel()
	}
	return s.Buffer.Write(p)
}

func TestAnInterruptLeavesNoProcessAndNoFolder(t *testing.T) {
	for _, text := range []string{"listens on", "connected;", "started the daemon", "READY=1", "Now nobody calls", "STOPPING=1", "connected again"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			folder := shortFolder(t)
			out := &stopAfter{text: text, cancel: cancel}
			err := Run(ctx, Options{Out: out, Command: command("as it should"), IdleExit: idleExit, Folders: []string{folder}})
			require.ErrorIs(t, err, context.Canceled)
			left, err := os.ReadDir(folder)
			require.NoError(t, err)
			require.Empty(t, left)
			_, after, found := strings.Cut(out.String(), "pid ")
			if found {
				var pid int
				_, err := fmt.Sscan(after, &pid)
				require.NoError(t, err)
				require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "the daemon still runs")
			}
		})
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestATimelineThatCannotBeWrittenEndsTheDemo(t *testing.T) {
	err := Run(t.Context(), Options{Out: fullDisk{}, Command: command("as it should"), IdleExit: idleExit, Folders: []string{shortFolder(t)}})
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func TestTimelineLinesHaveTimesSinceTheStart(t *testing.T) {
	at := time.Unix(1000, 0)
	var out bytes.Buffer
	line := newTimeline(&out, func() time.Time { return at })
	line.add(byManager, "listens on %s", "/x")
	at = at.Add(5*time.Second + 1234*time.Microsecond)
	line.add(byClient, "connected")
	line.note("Now nobody calls.")
	at = at.Add(1000 * time.Second)
	line.add(byDaemon, "READY=1")
	require.Equal(t, ""+
		"   0.000 s  manager  listens on /x\n"+
		"   5.001 s  client   connected\n"+
		"                     Now nobody calls.\n"+
		"1005.001 s  daemon   READY=1\n", out.String())
}

func TestAFolderThatCannotBeUsedFallsBackToTheNext(t *testing.T) {
	long := t.TempDir() + "/" + strings.Repeat("x", 100)
	require.NoError(t, os.Mkdir(long, 0o700))
	good := shortFolder(t)
	dir, err := makeFolder([]string{"/nonexistent", long, good})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(dir, good+"/"), dir)
	left, err := os.ReadDir(long)
	require.NoError(t, err)
	require.Empty(t, left)

	_, err = makeFolder([]string{"/nonexistent", long})
	require.ErrorContains(t, err, "expected at most 107")
	require.ErrorContains(t, err, "TMPDIR")
}

func TestTheManagerSeesAClientWithoutAccepting(t *testing.T) {
	m, err := newManager([]string{shortFolder(t)})
	require.NoError(t, err)
	defer m.close()

	ctx, cancel := context.WithCancelCause(t.Context())
	seen := make(chan error, 1)
	go func() { seen <- m.awaitClient(ctx) }()
	cancel(errors.New("nobody came"))
	require.EqualError(t, <-seen, "nobody came")

	go func() { seen <- m.awaitClient(t.Context()) }()
	client, err := net.Dial("unix", m.socketPath)
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, <-seen)
	require.NoError(t, m.awaitClient(t.Context()), "the connection still waits")
}

func TestMessagesComeWithTheirSendersPid(t *testing.T) {
	m, err := newManager([]string{shortFolder(t)})
	require.NoError(t, err)
	defer m.close()
	conn, err := net.Dial("unixgram", m.notifyPath)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("READY=1\nSTATUS=all is well\n"))
	require.NoError(t, err)
	got := <-m.messages
	require.Equal(t, os.Getpid(), got.pid)
	require.True(t, got.has("READY=1"))
	require.False(t, got.has("READY"))
	require.False(t, got.has("STATUS"))
	require.Equal(t, "all is well", got.status())
}

func TestTheTailOfAnOutputIsBounded(t *testing.T) {
	var out tail
	for range 3 * maxTail / 10 {
		_, _ = out.Write([]byte("123456789\n"))
	}
	require.LessOrEqual(t, len(out.String()), maxTail+len("… "))
	require.True(t, strings.HasPrefix(out.String(), "… "))
	require.True(t, strings.HasSuffix(out.String(), "123456789"))
}
