// Package box boots a real systemd as PID 1, in a container that lasts as long
// as the tests of one package, so that tests can install units and drive them
// with systemctl, journalctl and clients.
//
//	overlay   the host's root below, a tmpfs above: the box changes nothing of the host
//	   │
//	cgroup    of its own: what is left over can be found and ended
//	   │
//	systemd-nspawn ─> PID 1 ─> box.target, which holds no service of the host
//	   │
//	Run, Show, Follow, Path ...   from outside, by nsenter and /proc/PID/root
//
// A package of tests shares one box:
//
//	func TestMain(m *testing.M) { os.Exit(box.Main(m)) }
//
//	func TestTheSocketListens(t *testing.T) {
//		b := box.Boot(t)
//		b.Run(t, "systemctl", "start", "marianned.socket")
//		require.Equal(t, "listening", b.Show(t, "marianned.socket", "SubState")["SubState"])
//	}
//
// Where a box can not be had, Boot skips the test and says what it needs. What
// the box can not show: in it MemoryMax=, TasksMax= and CPUQuota= have no effect,
// since the host's controllers are not handed on; and its kernel is the host's.
//
// $MARIANNED_BOX_ROOT names another root than the host's to put below, for
// another version of systemd: a folder as mmdebstrap makes it. A test that asks for
// such a root itself, clean of what the host has, takes DebianRoot and BootRoot.
package box
