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
	"time"

	"golang.org/x/sys/unix"
)

// boot makes a box and waits until its systemd has reached box.target.
func boot() (*Box, error) {
	b, err := enroll()
	if err != nil {
		return nil, err
	}
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
	defer notify.Close()
	started := make(chan error)
	go b.supervise(notify.LocalAddr().String(), started)
	if err := <-started; err != nil {
		return err
	}
	go func() { // do not wait for news of who has ended
		<-b.ended
		_ = notify.SetReadDeadline(time.Unix(1, 0))
	}()
	return b.awaitReady(notify)
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
	command, err := b.launch(notify)
	started <- err
	if err == nil {
		_ = command.Wait() // it is killed in the end
	}
}

// launch gives the calling thread a mount namespace with the root of the box in
// it, and starts systemd-nspawn there.
func (b *Box) launch(notify string) (*exec.Cmd, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("a mount namespace: %w", err)
	}
	mounts := filepath.Join(b.folder(), "mounts")
	if err := os.Mkdir(mounts, 0o700); err != nil {
		return nil, err
	}
	root, err := mountRoot(mounts)
	if err != nil {
		return nil, err
	}
	// With --keep-unit the box grows in the cgroup of its parent.
	cgroup, err := makeCgroup(b.name)
	if err != nil {
		return nil, err
	}
	defer cgroup.Close()
	console, err := os.Create(b.console())
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

// awaitReady waits for sd_notify(3) messages of systemd-nspawn: the pid of the
// box's PID 1, and that it has booted.
func (b *Box) awaitReady(notify *net.UnixConn) error {
	if err := notify.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	message := make([]byte, 4096)
	for {
		n, err := notify.Read(message)
		if err != nil {
			return fmt.Errorf("it has not booted: %w", err)
		}
		for line := range strings.Lines(string(message[:n])) {
			line = strings.TrimSuffix(line, "\n")
			if pid, found := strings.CutPrefix(line, "X_NSPAWN_LEADER_PID="); found {
				if b.pid, err = strconv.Atoi(pid); err != nil {
					return err
				}
			}
			if line == "READY=1" && b.pid != 0 {
				return nil
			}
		}
	}
}
