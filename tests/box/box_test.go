package box

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// childVariable makes a test binary that this one started boot a box and wait.
const childVariable = "MARIANNED_BOX_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
	}
	os.Exit(Main(m))
}

// child boots a box, tells which, and waits to be killed.
func child() {
	b, err := boot(defaultRoot())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(b.name, b.pid)
	<-b.ended
}

func TestTheBoxRunsWhatIsAskedOfItAndNothingOfTheHost(t *testing.T) {
	b := Boot(t)
	require.Equal(t, "running\n", b.Run(t, "systemctl", "is-system-running"))
	require.Equal(t, "systemd\n", b.Run(t, "cat", "/proc/1/comm"))
	var services []string
	for line := range strings.Lines(b.Run(t, "systemctl", "list-units", "--no-legend", "--plain", "--type=service", "--state=running")) {
		services = append(services, strings.Fields(line)[0])
	}
	for _, service := range services { // the bus and who is called by it may have been asked for
		require.Contains(t, []string{"systemd-journald.service", "dbus.service", "systemd-logind.service"}, service)
	}
}

func TestWhatIsWrittenInTheBoxStaysInIt(t *testing.T) {
	b := Boot(t)
	b.Write(t, "/etc/marianned-box-test", "inside")
	require.Equal(t, "inside", b.Run(t, "cat", "/etc/marianned-box-test"))
	require.NoFileExists(t, "/etc/marianned-box-test")
}

func TestARebootLeavesWhatIsNotInRun(t *testing.T) {
	b := Boot(t)
	b.Write(t, "/run/before", "")
	b.Write(t, "/etc/before", "")
	pid := b.pid
	b.Reboot(t)
	require.NotEqual(t, pid, b.pid)
	require.Equal(t, "running\n", b.Run(t, "systemctl", "is-system-running"))
	require.Equal(t, 1, b.Try(t, "test", "-e", "/run/before").Code)
	b.Run(t, "test", "-e", "/etc/before")
}

func TestARemovedBoxLeavesNoTrace(t *testing.T) {
	if missing := need(defaultRoot()); missing != "" {
		t.Skip(missing)
	}
	b, err := boot(defaultRoot())
	require.NoError(t, err)
	require.NotEmpty(t, traces(t, b.name))
	require.NoError(t, b.remove())
	require.Empty(t, traces(t, b.name))
}

func TestACommandThatFailsSaysHow(t *testing.T) {
	b := Boot(t)
	require.Equal(t, Result{Stdout: "one\n", Stderr: "two\n", Code: 3},
		b.Try(t, "sh", "-c", "echo one; echo two >&2; exit 3"))
}

func TestAsAUserACommandHasItsGroups(t *testing.T) {
	b := Boot(t)
	b.Run(t, "groupadd", "boxgroup")
	b.Run(t, "useradd", "--user-group", "--groups", "boxgroup", "boxuser")
	require.Equal(t, "boxuser boxgroup\n", b.Run(t, As("boxuser", "id", "-Gn")...))
}

func TestTheJournalIsFollowedFromTheMomentThatIsAskedFor(t *testing.T) {
	b := Boot(t)
	say := func(text string) { b.Run(t, "systemd-run", "--quiet", "--wait", "--unit=box-says", "echo", text) }
	say("before")
	all, other := b.Follow(t), b.Follow(t, "box-is-silent.service")
	say("after")
	entry := all.AwaitWhere(t, "after", func(e Entry) bool { return e.Message == "after" })
	require.Equal(t, "box-says.service", entry.From)
	require.Equal(t, "box-says.service", all.Await(t, "Deactivated successfully").Of)
	require.NotContains(t, all.String(), "before")
	require.Empty(t, other.entries)
}

func TestABoxWhoseTestsWereKilledIsRemovedByTheNext(t *testing.T) {
	if missing := need(defaultRoot()); missing != "" {
		t.Skip(missing)
	}
	for name, kill := range map[string]func(t *testing.T, b *Box, tests *os.Process){
		"the tests": func(t *testing.T, _ *Box, tests *os.Process) { require.NoError(t, tests.Kill()) },
		"systemd-nspawn, and the tests then": func(t *testing.T, b *Box, tests *os.Process) {
			require.NoError(t, syscall.Kill(parentOf(t, b.pid), syscall.SIGKILL))
			require.NoError(t, tests.Kill())
		},
	} {
		t.Run(name, func(t *testing.T) {
			child := exec.Command(os.Args[0])
			child.Stderr = os.Stderr
			child.Env = append(os.Environ(), childVariable+"=1")
			stdout, err := child.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, child.Start())
			killed := &Box{}
			_, err = fmt.Fscanln(bufio.NewReader(stdout), &killed.name, &killed.pid)
			require.NoError(t, err)
			require.NotEmpty(t, traces(t, killed.name))

			kill(t, killed, child.Process)
			_ = child.Wait() // it was killed
			next, err := boot(defaultRoot())
			require.NoError(t, err)
			defer func() { require.NoError(t, next.remove()) }()
			require.Empty(t, traces(t, killed.name))
		})
	}
}

func parentOf(t *testing.T, pid int) (parent int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	_, err = fmt.Sscan(strings.Fields(rest)[1], &parent) // proc(5), after "pid (comm) state"
	require.NoError(t, err)
	return parent
}

// traces returns where a box of this name can be found on the host, its
// processes among them.
func traces(t *testing.T, name string) []string {
	t.Helper()
	hierarchy, err := cgroupHierarchy()
	require.NoError(t, err)
	var found []string
	for _, path := range []string{
		filepath.Join(hierarchy, name), filepath.Join(mirror, name),
		filepath.Join(stateFolder, name), "/run/systemd/nspawn/propagate/" + name,
	} {
		if _, err := os.Lstat(path); err == nil {
			found = append(found, path)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(t, err)
	for _, path := range commands {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), "/"+name+"/") &&
			!strings.Contains(string(content), "(deleted)") { // of one that is dead and not waited for
			found = append(found, path)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return found
}
