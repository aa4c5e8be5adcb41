package systemd

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// refusals are what a daemon that was taken over might do next, and how the
// kernel answers: to the user marianned without a sandbox, in the system's unit, and
// in the user's, which has filters on system calls alone.
var refusals = []struct{ action, bare, system, user string }{
	{"write a file of everybody", "allowed", "EROFS", "allowed"},
	{"read a home", "allowed", "EACCES", "allowed"},
	{"see the others' /tmp", "allowed", "ENOENT", "allowed"},
	{"see the kernel's settings", "allowed", "ENOENT", "allowed"},
	{"open an inet socket", "allowed", "EAFNOSUPPORT", "EAFNOSUPPORT"},
	{"open a netlink socket", "allowed", "EAFNOSUPPORT", "EAFNOSUPPORT"},
	{"make a user namespace", "EINVAL", "EPERM", "EPERM"},            // of a process with threads
	{"map memory to run", "allowed", "EPERM EACCES", "EPERM EACCES"}, // a filter, or from systemd 254 on PR_SET_MDWE
	{"change the personality", "allowed", "EPERM", "EPERM"},
	{"run in real time", "EINVAL", "EPERM", "EPERM"}, // without its parameters
	{"lock memory", "ENOMEM", "EPERM", "EPERM"},
	{"set up io_uring", "EFAULT", "EPERM", "EPERM"},
	{"read another's memory", "allowed", "EPERM", "EPERM"},
	{"load a program into kernel", "EINVAL", "EPERM", "EPERM"},
	{"trace a process", "ESRCH", "EPERM", "EPERM"},
	{"make a program set-uid", "allowed", "EPERM", "EPERM"},
	// What it needs.
	{"open a Unix socket", "allowed", "allowed", "allowed"},
	{"map memory", "allowed", "allowed", "allowed"},
}

func TestTheSandboxesHoldFromTheInside(t *testing.T) {
	b := installed(t)
	fixture(t, b)
	b.Run(t, "mkdir", "-p", "-m", "0777", "/srv/everybody")
	b.Write(t, "/tmp/of-others", "")

	b.Run(t, "systemd-run", "--unit=bare", "--service-type=notify", "--uid=marianned", "--property=RuntimeDirectory=bare",
		fixtureBinary, "--socket=/run/bare/socket")
	t.Cleanup(func() { b.Systemctl(t, "stop", "bare.service") })
	a := manager(t, b, "ann")
	a.install()
	a.fixture()
	bare, system, own := dialAt(t, b, "/run/bare/socket"), dial(t, b), dialAt(t, b, a.runtime(userSocket))
	for _, refusal := range refusals {
		t.Run(refusal.action, func(t *testing.T) {
			require.Equal(t, refusal.bare, bare.try(refusal.action), "without a sandbox")
			require.Contains(t, strings.Fields(refusal.system), system.try(refusal.action), "in the system's unit")
			require.Contains(t, strings.Fields(refusal.user), own.try(refusal.action), "in the user's unit")
		})
	}
}

func (c *client) try(action string) (answer string) {
	c.t.Helper()
	c.call("try", `{"action":"`+action+`"}`, &answer)
	return answer
}

func TestTheSystemsDaemonHasNoPrivilegeLeftAndNamespacesOfItsOwn(t *testing.T) {
	b := installed(t)
	dial(t, b).health()
	process := "/proc/" + b.Show(t, serviceUnit, "MainPID")["MainPID"]
	status, err := os.ReadFile(b.Path(process + "/status"))
	require.NoError(t, err)
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		fields[key] = strings.TrimSpace(value)
	}
	const none = "0000000000000000"
	for key, value := range map[string]string{"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
		"NoNewPrivs": "1", "Seccomp": "2"} { // 2: a filter, proc(5)
		require.Equal(t, value, fields[key], key)
	}
	for namespace, own := range map[string]bool{"mnt": true, "net": true, "ipc": true, "uts": true,
		// In its own, it would not know its peers.
		"user": false, "pid": false} {
		link := "/ns/" + namespace
		systemds, its := b.Run(t, "readlink", "/proc/1"+link), b.Run(t, "readlink", process+link)
		require.Equal(t, own, systemds != its, namespace)
	}
}
