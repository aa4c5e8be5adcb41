package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/methods/operator"
	"github.com/marianned/marianned/methods/outside"
	"github.com/marianned/marianned/methods/peerunit"
	"github.com/marianned/marianned/rpc"
)

// offer is what a daemon serves, and to whom: all that is made of files. It
// never changes.
type offer struct {
	cfg      Config
	changes  config.Changes // from the settings before a reload
	set      *operator.Set
	registry *rpc.Methods
}

// offers are the one in force and the one before it: a call that looked its
// method up a moment ago is judged by the rules of that method, not by those of
// another of its name.
type offers struct{ current, previous *offer }

// load makes an offer. Nothing has changed when it fails: with a
// config.ErrInvalid, each finding on a line of its own.
func (l *lifecycle) load(cfg Config) (*offer, error) {
	if !rpcSocket(l.sockets).Inherited {
		cfg.IdleExit = 0 // nothing would start it again
	}
	set, err := operator.Load(operator.Options{
		Folders: cfg.MethodFolders, Logger: l.log, Processes: &l.processes, Workers: &l.workers,
		Observe: l.metrics.Observe,
		Outside: outsideOf(outside.Socket),
	})
	if err != nil {
		return nil, config.Errorf("methods:\n%w", err)
	}
	o := &offer{cfg: cfg, set: set, registry: new(rpc.Methods)}
	err = methods.Register(o.registry, methods.Daemon{
		Version: cfg.Version,
		Started: l.started,
		Server:  l.server,
		Visible: set.Visible,
		Config:  func() any { return describeConfig(cfg, l.sockets) },
		Metrics: l.metrics.Text,
		Stop:    l.stop,
		Reload:  l.reload,
	})
	if err == nil && cfg.Methods != nil {
		err = cfg.Methods(o.registry)
	}
	if err == nil {
		err = set.Register(o.registry)
	}
	if err != nil {
		set.Close()
		return nil, err
	}
	return o, nil
}

// outsideOf says whether the service manager runs programs as other users for this
// daemon: it listens then where nobody but this process's user may connect.
func outsideOf(socket string) operator.Outside {
	info, err := os.Stat(socket)
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Mode&syscall.S_IFMT == syscall.S_IFSOCK && st.Uid == uint32(os.Geteuid()) {
			return operator.Outside{Socket: socket}
		}
		err = errors.New("it is no socket of this daemon's user")
	}
	return operator.Outside{Why: fmt.Sprintf("systemd runs none for this daemon: %s: %v; "+
		"the system's daemon needs marianned-exec.socket to be started, and no other has one", socket, conffile.Reason(err))}
}

// report says what was loaded, and what of it is doubtful.
func (o *offer) report(log *logrus.Logger) {
	reportSettings(log, o.cfg.Settings, o.changes)
	if few := tooFewFiles(o.cfg.Limits); few != "" {
		log.Warn(few)
	}
	for _, w := range o.set.Warnings {
		log.WithField("at", w.Position.String()).Warn(w.Message)
	}
	if len(o.set.Files) > 0 {
		log.WithFields(logrus.Fields{"files": len(o.set.Files), "methods": o.set.Len()}).Info("methods loaded")
	}
}

// authorize is the server's question before each call.
func (l *lifecycle) authorize(peer *rpc.Peer, m *rpc.Method) error {
	in := l.offers.Load()
	if p := in.previous; p != nil && p.registry.Lookup(m.Name) == m {
		return p.set.Authorize(peer, m)
	}
	return in.current.set.Authorize(peer, m)
}

// identify says more of a peer than the kernel does. Where its unit is not known
// the rules about units are enough: it may connect.
func (l *lifecycle) identify(listener net.Listener, nc net.Conn, peer *rpc.Peer) error {
	for i, candidate := range l.listeners {
		if candidate == listener {
			peer.Socket = l.sockets[i].Name
		}
	}
	if err := peerunit.Identify(nc, peer); err != nil && l.offers.Load().current.set.UsesUnits() {
		l.log.WithError(err).Debug("rules that allow by unit do not fit, those that deny do")
	}
	return nil
}

// stopPrograms ends what methods have started and did not end with their calls.
func (l *lifecycle) stopPrograms() {
	programs, workers := l.processes.Stop(), l.workers.Stop()
	<-programs
	<-workers
}

// closeOnExec keeps what this process was started with from the programs that
// it starts. What is opened later closes by itself.
func closeOnExec() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list the open files: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil && !errors.Is(err, unix.EBADF) {
			return fmt.Errorf("close descriptor %d on exec: %w", fd, err)
		}
	}
	return nil
}
