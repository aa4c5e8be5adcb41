package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/methods/metrics"
	"github.com/marianned/marianned/rpc"
)

// Run serves until it is told to stop: by SIGTERM or SIGINT, by daemon.shutdown,
// by the end of ctx, or because it is idle. It returns nil then, also if the
// drain was cut off by its timeout or by a second signal: what was asked for is
// done. SIGHUP reloads, see Config.Reread; SIGPIPE is ignored: a log that nobody
// reads must not end the daemon.
//
// Errors match config.ErrInvalid or one of the sentinels of activation; others
// are internal. The service manager has been told them too.
//
// Run takes over the process's signals and what the service manager left in its
// environment: call it once, early. When it returns no goroutine of its own is
// left, but for handlers that ran on after they were cut off.
func Run(ctx context.Context, cfg Config) (err error) {
	// Separate channels: a flood of one signal must not displace another.
	terminate, hangup := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(terminate)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	// Caught by nobody, not ignored: programs that we start would inherit that.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)

	if cfg.Logger == nil {
		cfg.Logger = NewLogger(io.Discard, logrus.PanicLevel)
	}
	notifier, err := activation.NewNotifier()
	if err != nil {
		return err
	}
	defer notifier.Close()
	defer func() {
		if err != nil {
			tell(cfg.Logger, notifier.Failed(errnoOf(err), err.Error()))
		}
	}()
	if err := cfg.Validate(); err != nil {
		return err
	}
	boundMemory(cfg.Limits)
	sockets, stored, err := openSockets(cfg)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range sockets {
			if closeErr := s.Close(); closeErr != nil {
				cfg.Logger.WithError(closeErr).WithField("socket", s.Path).Warn("socket not closed cleanly")
			}
		}
	}()

	// By the flag Inherit tells what was passed from what was opened since.
	if err := closeOnExec(); err != nil {
		return err
	}
	l, err := newLifecycle(cfg, sockets)
	if err != nil {
		return err
	}
	l.notify, l.terminate, l.hangup, l.stored = notifier, terminate, hangup, stored
	l.watchdogInterval = notifier.WatchdogInterval()
	return l.run(ctx)
}

// ReportFailure tells the service manager why there will be no Run, if one
// listens. Use Run or it, not both: each takes what the environment says.
func ReportFailure(err error) {
	notifier, notifierErr := activation.NewNotifier()
	if notifierErr != nil {
		return // err is the one to be printed
	}
	defer notifier.Close()
	_ = notifier.Failed(errnoOf(err), err.Error()) // nobody is left to be told
}

// openSockets returns the inherited sockets and what came with them, else one
// socket that it bound.
func openSockets(cfg Config) (sockets []*activation.Socket, stored []*os.File, err error) {
	sockets, stored, err = activation.InheritStored()
	if err != nil {
		return nil, nil, err
	}
	if sockets != nil {
		warnOfUnusedSettings(cfg, sockets)
		return sockets, stored, nil
	}
	path := cfg.Socket
	if path == "" {
		if path, err = config.DefaultServeSocket(); err != nil {
			return nil, nil, err
		}
	}
	socket, err := activation.Bind(activation.BindOptions{Path: path, Mode: cfg.Mode, Group: cfg.Group})
	if err != nil {
		return nil, nil, err
	}
	return []*activation.Socket{socket}, nil, nil
}

// warnOfUnusedSettings says what of the configuration the service manager's
// sockets make void: whoever wrote it may be looking for the daemon elsewhere.
func warnOfUnusedSettings(cfg Config, sockets []*activation.Socket) {
	path := rpcSocket(sockets).Path
	if cfg.Socket != "" && cfg.Socket != path {
		cfg.Logger.WithFields(logrus.Fields{"asked": cfg.Socket, "socket": path}).
			Warn("serving the inherited socket, not the one asked for: change ListenStream= of the .socket unit, or start the daemon without it")
	}
	if cfg.Mode != 0 || cfg.Group != "" {
		cfg.Logger.WithField("socket", path).
			Warn("mode and group of an inherited socket are the service manager's: change SocketMode= and SocketGroup= of the .socket unit")
	}
}

func rpcSocket(sockets []*activation.Socket) *activation.Socket {
	for _, s := range sockets {
		if s.Name == activation.NameRPC {
			return s
		}
	}
	return sockets[0] // activation promises one
}

// newLifecycle makes the server of all sockets, with what it serves.
func newLifecycle(cfg Config, sockets []*activation.Socket) (*lifecycle, error) {
	main := rpcSocket(sockets)
	l := &lifecycle{cfg: cfg, reloads: newReloads(), log: cfg.Logger, sockets: sockets, started: time.Now(), stopSoon: make(chan struct{}, 1), stopNow: make(chan struct{}, 1)}
	l.server = &rpc.Server{Limits: cfg.Limits, Logger: cfg.Logger, Authorize: l.authorize, Identify: l.identify, SpareThreads: true}
	l.metrics = metrics.New(l.server, cfg.Version)
	for _, s := range sockets {
		l.listeners = append(l.listeners, s.Listener)
	}
	first, err := l.load(cfg)
	if err != nil {
		return nil, err
	}
	first.report(l.log)
	l.cfg, l.server.Methods = first.cfg, first.registry
	l.offers.Store(&offers{current: first})
	l.about = logrus.Fields{"socket": main.Path, "inherited": main.Inherited, "version": cfg.Version}
	if l.cfg.IdleExit > 0 {
		l.about["idle_exit"] = l.cfg.IdleExit.String()
	}
	return l, nil
}

// effectiveConfig is what daemon.config answers.
type effectiveConfig struct {
	Socket              string         `json:"socket"`
	AdminSocket         string         `json:"admin_socket,omitempty"`
	Inherited           bool           `json:"inherited"`
	DrainTimeoutSeconds float64        `json:"drain_timeout_seconds"`
	IdleExitSeconds     float64        `json:"idle_exit_seconds"` // 0: never
	Limits              rpc.RawMessage `json:"limits"`

	// Of a daemon that was made of settings.
	Files    []string           `json:"files,omitempty"`
	Settings []config.Effective `json:"settings,omitempty"`
}

func describeConfig(cfg Config, sockets []*activation.Socket) effectiveConfig {
	main := rpcSocket(sockets)
	e := effectiveConfig{
		Socket:              main.Path,
		Inherited:           main.Inherited,
		DrainTimeoutSeconds: cfg.DrainTimeout.Seconds(),
		IdleExitSeconds:     cfg.IdleExit.Seconds(),
		Limits:              methods.Limits(cfg.Limits),
	}
	for _, s := range sockets {
		if s.Name == activation.NameAdmin {
			e.AdminSocket = s.Path
		}
	}
	if cfg.Settings != nil {
		e.Files, e.Settings = cfg.Settings.Files, slices.Collect(cfg.Settings.All())
	}
	return e
}

// errnoOf returns the system's reason for err, or 0.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

// tell logs that the service manager could not be told something. That is no
// reason to stop serving: it will act on what it believes.
func tell(log *logrus.Logger, err error) {
	if err != nil {
		log.WithError(err).Warn("the service manager was not told")
	}
}

var _ notifier = (*activation.Notifier)(nil)
