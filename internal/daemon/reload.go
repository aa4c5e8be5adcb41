package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

// reloads is the state of reloading: one at a time. What is asked for meanwhile
// is one more reload after it, for all who asked, since the files may have
// changed after they were read.
//
//	SIGHUP, daemon.reload ─> ask ─> RELOADING=1 ─> load (a goroutine) ─> swap, or nothing ─> READY=1
type reloads struct {
	requests chan reloadRequest // of daemon.reload, to the goroutine of run
	loaded   chan loaded        // of capacity 1: nobody waits for one at the end

	running bool
	again   bool            // once more after it
	asked   []reloadRequest // who wait for the one that runs
	next    []reloadRequest // who wait for the one after it
	failure string          // of the last one, "" where it succeeded
}

// reloadRequest gets exactly one outcome; it is of capacity 1.
type reloadRequest chan reloadOutcome

type reloadOutcome struct {
	result methods.Reloaded
	err    error
}

// loaded is what came of reading all files: an offer, or an error.
type loaded struct {
	offer *offer
	err   error
}

func newReloads() reloads {
	return reloads{requests: make(chan reloadRequest), loaded: make(chan loaded, 1)}
}

// reload is daemon.reload.
func (l *lifecycle) reload(ctx context.Context) (methods.Reloaded, error) {
	request := make(reloadRequest, 1)
	select {
	case l.reloads.requests <- request:
	case <-ctx.Done():
		return methods.Reloaded{}, context.Cause(ctx)
	}
	select {
	case o := <-request:
		return o.result, o.err
	case <-ctx.Done():
		return methods.Reloaded{}, context.Cause(ctx)
	}
}

// askReload has the files read, now or after the reload that runs. by is nil for
// a signal.
func (l *lifecycle) askReload(by reloadRequest) {
	r := &l.reloads
	if r.running {
		r.again = true
		if by != nil {
			r.next = append(r.next, by)
		}
		return
	}
	if by != nil {
		r.asked = append(r.asked, by)
	}
	l.beginReload()
}

func (l *lifecycle) beginReload() {
	l.reloads.running = true
	tell(l.log, l.notify.Reloading())
	l.log.Info("reloading")
	cfg := l.offers.Load().current.cfg
	go func() {
		offer, err := l.loadAnew(cfg)
		l.reloads.loaded <- loaded{offer, err}
	}()
}

// loadAnew reads everything that a reload replaces, and changes nothing.
func (l *lifecycle) loadAnew(cfg Config) (*offer, error) {
	if cfg.Reread == nil {
		return l.load(cfg)
	}
	fresh, err := cfg.Reread()
	if err == nil {
		err = fresh.Validate()
	}
	if err != nil {
		return nil, err
	}
	fresh, changes := fresh.replacing(cfg)
	o, err := l.load(fresh)
	if err == nil {
		o.changes = changes
	}
	return o, err
}

// endReload puts in force what was loaded, all of it, or says why not. The
// service manager hears READY=1 in both cases: the daemon serves.
func (l *lifecycle) endReload(got loaded) {
	r := &l.reloads
	outcome := reloadOutcome{err: got.err}
	if got.err == nil {
		outcome.err = l.swap(got.offer)
	}
	r.failure = ""
	if outcome.err == nil {
		got.offer.report(l.log)
		l.log.Info("reloaded")
		outcome.result = got.offer.describe()
	} else {
		findings := findingsOf(outcome.err)
		for _, finding := range findings {
			l.log.WithField("finding", finding).Error("reload failed: nothing has changed")
		}
		r.failure = findings[0]
		outcome.err = methods.ReloadFailed(findings)
	}
	l.status = l.describe()
	tell(l.log, l.notify.Ready(l.status))
	l.answerReload(outcome)
	if r.again {
		r.again, r.asked, r.next = false, r.next, nil
		l.beginReload()
	}
}

func (l *lifecycle) answerReload(o reloadOutcome) {
	l.reloads.running = false
	for _, request := range l.reloads.asked {
		request <- o
	}
	l.reloads.asked = nil
}

// swap is the one place where a running daemon changes what it serves. It fails
// before it has changed anything.
func (l *lifecycle) swap(o *offer) error {
	if err := l.server.SetLimits(o.cfg.Limits); err != nil {
		return err
	}
	boundMemory(o.cfg.Limits)
	l.setLogLevel(o.cfg)
	old := l.offers.Load().current
	l.cfg = o.cfg
	l.offers.Store(&offers{current: o, previous: old}) // the rules before the methods that they are for
	l.server.SetMethods(o.registry)
	old.set.Close() // its calls run to their end
	return nil
}

// refuseReload answers who asks while the daemon stops.
func refuseReload(request reloadRequest) {
	request <- reloadOutcome{err: &rpc.Error{
		Code: rpc.CodeShuttingDown, Message: "the server is shutting down",
		Data: &rpc.ErrorData{Reason: rpc.ReasonShuttingDown, Scope: "server", Executed: rpc.ExecutedNo},
	}}
}

// abandonReload answers who waits for a reload when the daemon begins to stop:
// nothing will come of it, however long the files take.
func (l *lifecycle) abandonReload() {
	for _, request := range append(l.reloads.asked, l.reloads.next...) {
		refuseReload(request)
	}
	l.reloads.asked, l.reloads.next = nil, nil
}

// dropReload ends one that comes too late: the daemon stops.
func (l *lifecycle) dropReload(got loaded) {
	if got.err == nil {
		got.offer.set.Close()
	}
	l.reloads.running = false
}

// findingsOf returns what is wrong, one sentence each; at least one.
func findingsOf(err error) (texts []string) {
	var findings definition.Findings
	if !errors.As(err, &findings) || len(findings) == 0 {
		return strings.Split(err.Error(), "\n")
	}
	for _, f := range findings {
		texts = append(texts, f.String())
	}
	return texts
}

func (o *offer) describe() methods.Reloaded {
	files, warnings := o.describeSettings()
	r := methods.Reloaded{
		Files:    slices.Concat([]string{}, files, o.set.Files),
		Methods:  o.set.Len(),
		Warnings: append([]string{}, warnings...),
	}
	for _, w := range o.set.Warnings {
		r.Warnings = append(r.Warnings, w.String())
	}
	return r
}

func (r *reloads) describe() string {
	if r.failure == "" {
		return ""
	}
	return fmt.Sprintf("; the last reload failed and changed nothing: %s", r.failure)
}
