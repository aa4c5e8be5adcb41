package worker

import (
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
)

// Workers are those of a daemon, across reloads: a definition that has not
// changed keeps its processes. The zero value is none.
type Workers struct {
	mu      sync.Mutex
	byKey   map[string]*pool // those that methods and calls use
	pools   []*pool          // and those that are ending
	stopped bool
}

// use returns the pool of a definition, for one more method. It is released.
func (ws *Workers) use(s *Settings, secret bool, log logrus.FieldLogger) *pool {
	return ws.useKey(s.key(), s, secret, log)
}

// hold returns the pool of p's definition, for one call: p, as long as a method uses
// it. A call that was taken before a reload may come when the methods of its time
// are closed.
func (ws *Workers) hold(p *pool) *pool {
	return ws.useKey(p.key, p.settings, p.hides(), p.log)
}

func (ws *Workers) useKey(key string, s *Settings, secret bool, log logrus.FieldLogger) *pool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.pools = slices.DeleteFunc(ws.pools, (*pool).isQuiet)
	p := ws.byKey[key]
	if p == nil {
		p = newPool(key, s, log)
		if ws.byKey == nil {
			ws.byKey = make(map[string]*pool)
		}
		ws.byKey[key] = p
		ws.pools = append(ws.pools, p)
	}
	p.use(secret)
	if ws.stopped {
		p.stop()
	}
	return p
}

// release is the end of one use. The processes of a pool that nobody uses end
// with their last call.
func (ws *Workers) release(p *pool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if p.release() {
		delete(ws.byKey, p.key)
	}
}

// Stop ends all workers, whatever they do, and lets none start any more. The
// channel is closed when they are gone: at most a little later than killDelay.
func (ws *Workers) Stop() <-chan struct{} {
	ws.mu.Lock()
	ws.stopped = true
	pools := slices.Clone(ws.pools)
	ws.mu.Unlock()
	for _, p := range pools {
		p.stop()
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for _, p := range pools {
			<-p.quiet
		}
	}()
	return gone
}

func (p *pool) isQuiet() bool {
	select {
	case <-p.quiet:
		return true
	default:
		return false
	}
}
