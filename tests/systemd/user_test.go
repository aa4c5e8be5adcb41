package systemd

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// account is a user of the box whose own service manager runs.
type account struct {
	t    *testing.T
	b    *box.Box
	name string
	uid  int
}

// manager starts the service manager of a user, until the end of the test.
func manager(t *testing.T, b *box.Box, name string) *account {
	t.Helper()
	if b.Try(t, "test", "-e", "/usr/share/pam-configs/systemd").Code != 0 {
		t.Skip("needs pam_systemd, which starts a user's service manager: apt-get install libpam-systemd")
	}
	a := &account{t, b, name, user(t, b, name)}
	unit := fmt.Sprintf("user@%d.service", a.uid)
	b.Systemctl(t, "start", unit)
	t.Cleanup(func() {
		b.Systemctl(t, "stop", unit)
		b.Run(t, "rm", "-rf", "/home/"+name+"/.config/systemd")
	})
	return a
}

func (a *account) runtime(path string) string {
	return fmt.Sprintf("/run/user/%d/%s", a.uid, path)
}

// run runs a command as the user.
func (a *account) run(args ...string) string {
	a.t.Helper()
	return a.b.Run(a.t, a.session(args...)...)
}

// session returns the arguments that run args as the user, as in a session.
func (a *account) session(args ...string) []string {
	session := []string{"env", "HOME=/home/" + a.name, "XDG_RUNTIME_DIR=" + a.runtime("")}
	return box.As(a.name, append(session, args...)...)
}

func (a *account) show(unit, property string) string {
	a.t.Helper()
	return strings.TrimSpace(a.run("systemctl", "--user", "show", "--property="+property, "--value", unit))
}

// install installs the user's units as the binary says.
func (a *account) install() {
	a.t.Helper()
	for _, command := range next(a.t, a.run(binary, "units", "install", "--user")) {
		a.run("sh", "-c", command)
	}
}

const userSocket = "marianned/marianned.sock" // below $XDG_RUNTIME_DIR

func TestAUsersOwnDaemonIsStartedByItsFirstClient(t *testing.T) {
	b := installed(t)
	a := manager(t, b, "ann")
	a.install()
	require.Equal(t, "listening", a.show(socketUnit, "SubState"))
	require.Equal(t, "inactive", a.show(serviceUnit, "ActiveState"))

	// A client without a flag takes the user's socket, not the system's.
	out := a.run(binary, "call", "--json", "daemon.config")
	require.Contains(t, out, fmt.Sprintf(`"socket":%q,"inherited":true`, a.runtime(userSocket)))
	require.Equal(t, "active", a.show(serviceUnit, "ActiveState"))
	require.Equal(t, "inactive", b.Show(t, serviceUnit, "ActiveState")["ActiveState"])
	require.Equal(t, strconv.Itoa(dialAt(t, b, a.runtime(userSocket)).health().PID), a.show(serviceUnit, "MainPID"))

	user(t, b, "eve", "marianned")
	stranger := b.Try(t, box.As("eve", binary, "call", "--socket", a.runtime(userSocket), "rpc.ping")...)
	require.Equal(t, 69, stranger.Code, "%+v", stranger)
	require.Contains(t, stranger.Stderr, "permission denied")
}

func TestAUsersDaemonStopsAndRestartsLikeTheSystems(t *testing.T) {
	b := installed(t)
	a := manager(t, b, "ann")
	a.install()
	a.fixture()
	c := dialAt(t, b, a.runtime(userSocket))
	c.send(`{"jsonrpc":"2.0","id":1,"method":"sleep","params":{"ms":2000}}`)
	begunAt(t, b, a.runtime(userSocket), 1)
	a.run("systemctl", "--user", "restart", serviceUnit)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"slept"}`, c.line())
	c.ends()
	require.Equal(t, "ok", dialAt(t, b, a.runtime(userSocket)).health().Status)
	a.run("systemctl", "--user", "stop", serviceUnit)
	require.Equal(t, "success", a.show(serviceUnit, "Result"))
	require.Equal(t, "listening", a.show(socketUnit, "SubState"))
}

func TestAUsersDaemonReloadsKeepsConnectionsAndExitsWhenIdleLikeTheSystems(t *testing.T) {
	b := installed(t)
	a := manager(t, b, "ann")
	a.install()
	const file = "/home/ann/.config/marianned/marianned.toml"
	write := func(text string) {
		a.run("sh", "-c", "umask 022; mkdir -p ~/.config/marianned; printf '"+text+"' >"+file)
	}
	write("keep_connections = true\\n")
	t.Cleanup(func() { b.Run(t, "rm", "-f", file) })

	c := dialAt(t, b, a.runtime(userSocket))
	first := c.health()
	a.run("systemctl", "--user", "restart", serviceUnit)
	second := c.health()
	require.NotEqual(t, first.PID, second.PID, "over the same connection")

	write("idle_exits = \"5s\"\\n")
	reload := a.session("systemctl", "--user", "reload", serviceUnit)
	require.NotZero(t, b.Try(t, reload...).Code)
	require.Contains(t, a.show(serviceUnit, "StatusText"), file+`:1:1: unknown key "idle_exits"; did you mean "idle_exit"?`)
	write("idle_exit = \"5s\"\\n")
	b.Run(t, reload...)
	require.Equal(t, second.PID, c.health().PID)

	require.NoError(t, c.Close())
	box.Await(t, "the daemon has exited", func() bool { return a.show(serviceUnit, "ActiveState") == "inactive" })
	require.Equal(t, "success", a.show(serviceUnit, "Result"))
	require.Equal(t, "listening", a.show(socketUnit, "SubState"))
	require.Equal(t, "ok", dialAt(t, b, a.runtime(userSocket)).health().Status)
}

// fixture has the user's service run the fixture, as fixture does for the
// system's.
func (a *account) fixture() {
	a.t.Helper()
	a.b.Install(a.t, box.Build(a.t, "./fixture"), fixtureBinary)
	folder := a.runtime("systemd/user/" + serviceUnit + ".d")
	a.run("mkdir", "-p", folder)
	a.b.Write(a.t, folder+"/fixture.conf", "[Service]\nExecStart=\nExecStart="+fixtureBinary+"\n")
	a.run("systemctl", "--user", "daemon-reload")
}
