package box

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// boot makes a box over the folder lower and waits until its systemd has reached
// box.target.
func boot(lower string) (*Box, error) {
	b, err := enroll()
	if err != nil {
		return nil, err
	}
	b.lower = lower
	if err := b.start(); err != nil {
		console, _ := os.ReadFile(b.console())
		return nil, errors.Join(fmt.Errorf("%w; its console said:\n%s", err, console), b.remove())
	}
	return b, nil
}

func (b *Box) start() error {
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(b.folder(), "notify"), Net: "unixgram"})
	if err != nil {
		close(b.ended)
		return err
	}
	b.ready = make(chan int, 1)
	go b.listen(notify)
	started := make(chan error)
	go b.supervise(notify.LocalAddr().String(), started)
	if err := <-started; err != nil {
		return err
	}
	go func() { // nobody waits for news of a box that has ended
		<-b.ended
		_ = notify.Close()
	}()
	return b.awaitReady()
}

// Reboot boots the box anew. What is not in /run stays; paths that Path has
// returned are void.
func (b *Box) Reboot(t testing.TB) {
	t.Helper()
	b.Try(t, "systemctl", "--no-block", "reboot") // may be ended by what it asks for
	if err := b.awaitReady(); err != nil {
		t.Fatalf("reboot the box: %v", err)
	}
}

// supervise runs systemd-nspawn to its end, on a thread of its own: the thread
// has the mounts of the box, and ends with this goroutine, for it stays locked.
func (b *Box) supervise(notify string, started chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The first thread outlives its goroutine: leave it as it is.
		over := make(chan struct{})
		go func() {
			defer close(over)
			b.supervise(notify, started)
		}()
		<-over
		runtime.UnlockOSThread()
		return
	}
	defer close(b.ended)
	root, err := b.unshare()
	for boot := 1; ; boot++ {
		var command *exec.Cmd
		if err == nil {
			command, err = b.launch(root, boot, notify)
		}
		if boot == 1 {
			started <- err
		}
		if err != nil {
			return
		}
		_ = command.Wait() // in the end it is killed
		if command.ProcessState.ExitCode() != exitReboot {
			return
		}
	}
}

// exitReboot is what systemd-nspawn exits with, given --keep-unit, when it is to be
// started again.
const exitReboot = 133

// unshare gives the calling thread a mount namespace with the root of the box in
// it, and returns its path.
func (b *Box) unshare() (root string, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("a mount namespace: %w", err)
	}
	mounts := filepath.Join(b.folder(), "mounts")
	if err := os.Mkdir(mounts, 0o700); err != nil {
		return "", err
	}
	return mountRoot(b.lower, mounts)
}

// launch starts systemd-nspawn on the calling thread. Each boot has a cgroup of its
// own below the box's.
func (b *Box) launch(root string, boot int, notify string) (*exec.Cmd, error) {
	// With --keep-unit the box grows in the cgroup of its parent.
	cgroup, err := makeCgroup(filepath.Join(b.name, strconv.Itoa(boot)))
	if err != nil {
		return nil, err
	}
	defer cgroup.Close()
	console, err := os.OpenFile(b.console(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer console.Close()
	command := exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit",
		"--directory="+root, "--machine="+b.name, "--notify-ready=yes", "--console=pipe",
		"--private-network", "--resolv-conf=off", "--timezone=off",
		// The sandboxes of units need most of them. Those left out would change the host.
		"--capability=all", "--drop-capability=CAP_SYS_MODULE,CAP_SYS_TIME,CAP_SYS_RAWIO,CAP_SYS_PACCT",
		"--system-call-filter=bpf", // of IPAddressDeny= and its kin
		"--boot", "--", "--unit=box.target")
	// systemd 258 knows no other hierarchy.
	command.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "NOTIFY_SOCKET="+notify)
	command.Stdout, command.Stderr = console, console
	command.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(cgroup.Fd()),
		// If the tests are killed, so that nobody can remove it, it shuts down.
		Pdeathsig: syscall.SIGTERM,
	}
	return command, command.Start()
}

// listen takes in the sd_notify(3) messages of systemd-nspawn for as long as there
// are any: the pid of the box's PID 1, that it has booted, and whatever else that
// says. Unread ones would fill the socket, and then stop PID 1 itself.
func (b *Box) listen(notify *net.UnixConn) {
	pid := 0
	message := make([]byte, 4096)
	for {
		n, err := notify.Read(message)
		if err != nil {
			return // the box has ended
		}
		for line := range strings.Lines(string(message[:n])) {
			line = strings.TrimSuffix(line, "\n")
			if text, found := strings.CutPrefix(line, "X_NSPAWN_LEADER_PID="); found {
				pid, _ = strconv.Atoi(text) // that of another is none
			}
			if line == "READY=1" && pid != 0 {
				select {
				case b.ready <- pid:
				default: // nobody has waited for the last time
				}
				pid = 0
			}
		}
	}
}

// awaitReady waits until the box has booted.
func (b *Box) awaitReady() error {
	select {
	case b.pid = <-b.ready:
		return nil
	case <-b.ended:
		return errors.New("it has ended before it had booted")
	case <-time.After(Patience):
		return fmt.Errorf("it has not booted within %s", Patience)
	}
}
