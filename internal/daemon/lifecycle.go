package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/methods/metrics"
	"github.com/marianned/marianned/methods/program"
	"github.com/marianned/marianned/methods/worker"
	"github.com/marianned/marianned/rpc"
)

// statusInterval is the shortest time between two STATUS texts.
const statusInterval = time.Second

// notifier is what of the service manager is needed while serving.
type notifier interface {
	Ready(status string) error
	Reloading() error
	Status(status string) error
	Stopping(status string) error
	Watchdog() error
	ExtendTimeout(by time.Duration) error
	StoreLimit() (limit int, known bool)
	Store(name string, c syscall.Conn) error
	Unstore(name string) error
	Barrier(timeout time.Duration) error
}

// extension is how much time more a drain that makes progress asks for, however
// long the service manager meant to wait (TimeoutStopSec=).
const extension = 10 * time.Second

// lifecycle is a daemon from its first accept to its last reply. Only the
// goroutine of run uses its fields, but for stop, the server, and what that asks.
type lifecycle struct {
	cfg       Config
	log       *logrus.Logger
	about     logrus.Fields // of the line that says that it serves
	server    *rpc.Server
	listeners []net.Listener
	sockets   []*activation.Socket
	started   time.Time
	notify    notifier
	terminate <-chan os.Signal
	hangup    <-chan os.Signal

	stored []*os.File // what the last process has left; taken up by run

	offers    atomic.Pointer[offers]
	reloads   reloads
	processes program.Processes
	workers   worker.Workers
	metrics   *metrics.Metrics
	// From daemon.shutdown, each of capacity 1: a second request of its kind
	// says nothing new.
	stopSoon, stopNow chan struct{}

	watchdogInterval time.Duration // in which the service manager wants to hear; 0 if it does not
	watchdog         *watchdog

	served chan error // one value from each accept loop
	status string     // last one sent
	mute   bool       // a STATUS could not be sent, which has been logged
}

// stop is for daemon.shutdown. It does not wait.
func (l *lifecycle) stop(graceful bool) {
	request := l.stopNow
	if graceful {
		request = l.stopSoon
	}
	select {
	case request <- struct{}{}:
	default:
	}
}

// run serves until there is a reason to stop, and stops. Its error is that of an
// accept loop that failed for good.
func (l *lifecycle) run(ctx context.Context) error {
	l.takeUp()
	l.served = make(chan error, len(l.listeners))
	for _, listener := range l.listeners {
		go func() { l.served <- l.server.Serve(listener) }()
	}
	l.status = l.describe()
	tell(l.log, l.notify.Ready(l.status))
	l.log.WithFields(l.about).Info("serving")

	l.watchdog = l.newWatchdog()
	ended, err := l.serve(ctx)
	l.endWatchdog()
	for range len(l.listeners) - ended {
		<-l.served // the server is closed: its accept loops are about to end
	}
	l.stopPrograms()
	l.log.Info("stopped")
	return err
}

// serve waits for a reason to stop and stops. It returns how many accept loops
// have ended before.
func (l *lifecycle) serve(ctx context.Context) (ended int, err error) {
	status := time.NewTicker(statusInterval)
	defer status.Stop()
	idle := l.idleTimer()
	memory := newMemoryKeeper()
	for {
		select {
		case sig := <-l.terminate:
			l.log.WithField("signal", sig.String()).Info("told to stop")
			l.drain(status.C, l.cfg.DrainTimeout, l.end(sig))
			return 0, nil
		case <-ctx.Done():
			l.log.Info("told to stop by the program that runs it")
			l.drain(status.C, l.cfg.DrainTimeout, l.server.Shutdown)
			return 0, nil
		case <-l.stopSoon:
			l.log.Info("told to stop by daemon.shutdown")
			l.drain(status.C, l.cfg.DrainTimeout, l.server.Shutdown)
			return 0, nil
		case <-l.stopNow:
			l.log.Info("told to stop at once by daemon.shutdown")
			l.drain(status.C, 0, l.server.Shutdown)
			return 0, nil
		case err := <-l.served:
			l.log.WithError(err).Error("a socket can not be served any more: stopping")
			l.drain(status.C, l.cfg.DrainTimeout, l.server.Shutdown)
			return 1, err
		case <-idle:
			if l.idleLeft() == 0 && l.server.ShutdownIfIdle() {
				l.log.WithField("after", l.cfg.IdleExit.String()).Info("idle: exiting until the next connection")
				tell(l.log, l.notify.Stopping(fmt.Sprintf("idle for %s", l.cfg.IdleExit)))
				return 0, nil
			}
			idle = l.idleTimer()
		case <-l.hangup:
			l.askReload(nil)
		case request := <-l.reloads.requests:
			l.askReload(request)
		case got := <-l.reloads.loaded:
			l.endReload(got)
			idle = l.idleTimer()
		case <-l.watchdog.due:
			l.ask()
		case err := <-l.watchdog.answers:
			l.heard(err)
		case <-status.C:
			l.report(l.describe())
			memory.look()
		}
	}
}

// idleTimer returns a channel that delivers when the daemon may have been idle
// for long enough: connections that came and went meanwhile put that off. nil if
// it never exits for that.
func (l *lifecycle) idleTimer() <-chan time.Time {
	if l.cfg.IdleExit == 0 {
		return nil
	}
	return time.After(l.idleLeft())
}

// idleLeft returns how long there must be no connection from now on for an idle
// exit.
func (l *lifecycle) idleLeft() time.Duration {
	since, idle := l.server.IdleSince()
	if !idle {
		return l.cfg.IdleExit
	}
	return max(0, l.cfg.IdleExit-time.Since(since))
}

// end returns how the server ends at a signal.
func (l *lifecycle) end(sig os.Signal) func(context.Context) error {
	// By SIGTERM it may be a restart, by another signal it is none.
	if limit, known := l.notify.StoreLimit(); l.cfg.KeepConnections && sig == syscall.SIGTERM && (!known || limit > 0) {
		return l.handOver
	}
	return l.server.Shutdown
}

// drain ends the server. Whatever happens meanwhile, it is nearly over at the
// end of the timeout.
func (l *lifecycle) drain(status <-chan time.Time, timeout time.Duration, end func(context.Context) error) {
	left := l.draining()
	l.status = describeDrain(left)
	tell(l.log, l.notify.Stopping(l.status))
	l.abandonReload()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- end(ctx) }()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, context.DeadlineExceeded) && timeout > 0 {
				l.log.WithField("drain_timeout", timeout.String()).Warn("the drain timeout has cut off what still ran")
			}
			return
		case sig := <-l.terminate:
			l.log.WithField("signal", sig.String()).Warn("told to stop again: stopping at once")
			cancel()
			_ = l.server.Close() // never fails
		case <-l.stopNow:
			l.log.Info("told to stop at once by daemon.shutdown")
			cancel()
		case <-l.hangup:
			l.log.Info("SIGHUP ignored: the daemon stops")
		case request := <-l.reloads.requests:
			refuseReload(request)
		case got := <-l.reloads.loaded:
			l.dropReload(got)
		case <-l.watchdog.due:
			l.ask()
		case err := <-l.watchdog.answers:
			l.heard(err)
		case <-status:
			before := left
			left = l.draining()
			l.report(describeDrain(left))
			if left < before {
				tell(l.log, l.notify.ExtendTimeout(extension))
			}
		}
	}
}

// report sends a STATUS if it says something new.
func (l *lifecycle) report(status string) {
	if status == l.status {
		return
	}
	err := l.notify.Status(status)
	if err == nil {
		l.status, l.mute = status, false
		return
	}
	if !l.mute {
		tell(l.log, err)
		l.mute = true
	}
}

func (l *lifecycle) describe() string {
	s := l.server.Stats()
	return fmt.Sprintf("connections %d, in flight %d, total %d", s.Connections, s.Running+s.Queued+s.Streams, s.TotalRequests) + l.reloads.describe()
}

func describeDrain(left int) string { return fmt.Sprintf("draining %d", left) }

// draining returns how many calls a drain still waits for.
func (l *lifecycle) draining() int {
	s := l.server.Stats()
	return s.Running + s.Queued
}
