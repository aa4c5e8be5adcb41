package operator

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/methods/policy"
	"github.com/marianned/marianned/rpc"
)

// Denials are logged one line for each uid and method in denialInterval, and no
// more than maxDenials lines in it for all together: whoever may connect can
// cause them.
const (
	denialInterval = 10 * time.Second
	maxDenials     = 50
)

// denials logs who was denied what, and by which line.
type denials struct {
	log logrus.FieldLogger

	mu         sync.Mutex
	since      time.Time // when the interval began
	logged     map[denialKey]bool
	suppressed int
}

type denialKey struct {
	uid    uint32
	method string
}

func newDenials(log logrus.FieldLogger) *denials { return &denials{log: log} }

func (d *denials) report(peer *rpc.Peer, method string, decision policy.Decision) {
	first, suppressed := d.first(denialKey{peer.UID, method}, time.Now())
	if !first {
		return
	}
	entry := d.log.WithFields(logrus.Fields{
		"method": method, "uid": peer.UID, "gid": peer.GID, "pid": peer.PID,
		"why": decision.Why,
	})
	if decision.At.File != "" {
		entry = entry.WithField("rule", decision.At.String())
	}
	if peer.Unit != "" {
		entry = entry.WithField("unit", peer.Unit)
	}
	if suppressed > 0 {
		entry = entry.WithField("not_logged", suppressed)
	}
	entry.Warn("call denied")
}

// first reports whether a denial is to be logged, and how many before it were
// not.
func (d *denials) first(key denialKey, now time.Time) (first bool, suppressed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.since) >= denialInterval {
		d.since, d.logged = now, make(map[denialKey]bool)
	}
	if d.logged[key] || len(d.logged) >= maxDenials {
		d.suppressed++
		return false, 0
	}
	d.logged[key] = true
	suppressed, d.suppressed = d.suppressed, 0
	return true, suppressed
}
