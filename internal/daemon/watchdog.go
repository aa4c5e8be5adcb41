package daemon

import (
	"context"
	"time"

	"github.com/marianned/marianned/methods"
)

// watchdog tells the service manager that the daemon is alive (WatchdogSec=,
// systemd.service(5)), each time after a call has been answered by the server
// and heard of by the goroutine that would also stop it. Its fields belong to
// that goroutine. The zero value does nothing.
type watchdog struct {
	due     <-chan time.Time // when to ask; nil if nobody wants to know
	answers chan error       // of capacity 1
	asking  bool
	cancel  context.CancelFunc
	ticker  *time.Ticker
}

// newWatchdog returns one that asks twice in each interval in which the service
// manager wants to hear.
func (l *lifecycle) newWatchdog() *watchdog {
	if l.watchdogInterval == 0 {
		return new(watchdog)
	}
	ticker := time.NewTicker(max(l.watchdogInterval/2, time.Millisecond))
	return &watchdog{due: ticker.C, ticker: ticker, answers: make(chan error, 1)}
}

// ask has the server answer a call, within half of the interval. While one call
// hangs there is no other.
func (l *lifecycle) ask() {
	w := l.watchdog
	if w.asking {
		return
	}
	w.asking = true
	var ctx context.Context
	ctx, w.cancel = context.WithTimeout(context.Background(), l.watchdogInterval/2)
	go func() { w.answers <- l.server.Probe(ctx, methods.Ping) }()
}

// heard takes in what came of it.
func (l *lifecycle) heard(err error) {
	l.watchdog.asking = false
	l.watchdog.cancel()
	if err != nil {
		l.log.WithError(err).Error("the server does not answer: the service manager is not told that it is alive")
		return
	}
	tell(l.log, l.notify.Watchdog())
}

// endWatchdog waits for a call that is on its way.
func (l *lifecycle) endWatchdog() {
	w := l.watchdog
	if w.ticker != nil {
		w.ticker.Stop()
	}
	if w.asking {
		w.cancel()
		<-w.answers
	}
}
