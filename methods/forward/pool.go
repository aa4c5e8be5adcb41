package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/rpc"
)

const (
	// After a connection could not be made none is tried for a pause, which
	// doubles from the first to the second.
	minPause = 100 * time.Millisecond
	maxPause = 10 * time.Second

	// growAt calls on each connection are a reason for another one.
	growAt = 8
)

// pool is the connections to one socket.
type pool struct {
	settings Settings
	dial     func(ctx context.Context, path string) (*rpc.Client, error)
	log      logrus.FieldLogger

	mu        sync.Mutex
	conns     []*conn
	dialling  *dialling // nil if nobody is
	users     int       // methods that may still call
	active    int       // calls that have a connection, or wait for one
	failures  int
	notBefore time.Time
}

// conn is a connection that several calls share. All but client is guarded by
// the lock of its pool.
type conn struct {
	client *rpc.Client
	calls  int
	used   bool        // has had a call before
	idle   *time.Timer // while calls is 0
}

// dialling is one attempt; err counts once done is closed.
type dialling struct {
	done chan struct{}
	err  error
}

// unavailable is why there is no connection. Nothing was sent.
type unavailable struct {
	cause error
	retry time.Duration
}

func (e *unavailable) Error() string { return e.cause.Error() }
func (e *unavailable) Unwrap() error { return e.cause }

var errPaused = errors.New("the socket could not be connected to, and is not tried again yet")

func newPool(s Settings, log logrus.FieldLogger) *pool {
	return &pool{settings: s, dial: rpc.Dial, log: log.WithField("socket", s.Socket)}
}

// acquire returns a connection for one call, which gives it back by release; not
// beside an error. fresh says that it has had no call before.
func (p *pool) acquire(ctx context.Context) (c *conn, fresh bool, err error) {
	p.mu.Lock()
	p.active++
	p.mu.Unlock()
	defer func() {
		if err != nil {
			p.release(nil)
		}
	}()
	for {
		p.mu.Lock()
		c := p.chooseLocked()
		if c != nil {
			p.mu.Unlock()
			return c.conn, c.fresh, nil
		}
		d, err := p.dialLocked()
		p.mu.Unlock()
		if err != nil {
			return nil, false, err
		}
		select {
		case <-d.done:
			if d.err != nil {
				return nil, false, d.err
			}
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

type chosen struct {
	conn  *conn
	fresh bool
}

// chooseLocked takes the connection with the fewest calls, nil if there is none,
// and has another one made where all are busy.
func (p *pool) chooseLocked() *chosen {
	p.conns = slices.DeleteFunc(p.conns, (*conn).hasEnded)
	if len(p.conns) == 0 {
		return nil
	}
	c := slices.MinFunc(p.conns, func(a, b *conn) int { return a.calls - b.calls })
	if c.calls >= growAt && len(p.conns) < p.settings.MaxConnections {
		_, _ = p.dialLocked() // this call has a connection
	}
	if c.idle != nil {
		c.idle.Stop()
		c.idle = nil
	}
	fresh := !c.used
	c.calls++
	c.used = true
	return &chosen{c, fresh}
}

// hasEnded reports whether a connection is of no use any more. Its calls know.
func (c *conn) hasEnded() bool {
	select {
	case <-c.client.Done():
		return true
	default:
		return false
	}
}

// dialLocked has a connection made, unless that is being done.
func (p *pool) dialLocked() (*dialling, error) {
	if p.dialling != nil {
		return p.dialling, nil
	}
	if err := p.pausedLocked(); err != nil {
		return nil, err
	}
	d := &dialling{done: make(chan struct{})}
	p.dialling = d
	go func() {
		client, err := p.connect(context.Background())
		p.mu.Lock()
		d.err, p.dialling = err, nil
		if err == nil {
			c := &conn{client: client}
			p.conns = append(p.conns, c)
			p.restLocked(c)
		}
		unused := p.unusedLocked()
		p.mu.Unlock()
		close(d.done)
		closeAll(unused)
	}()
	return d, nil
}

func (p *pool) pausedLocked() error {
	if pause := time.Until(p.notBefore); pause > 0 {
		return &unavailable{errPaused, pause}
	}
	return nil
}

// connect makes a connection, and counts whether it could.
func (p *pool) connect(ctx context.Context) (*rpc.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, p.settings.ConnectTimeout)
	defer cancel()
	client, err := p.dial(ctx, p.settings.Socket)
	if errors.Is(ctx.Err(), context.Canceled) && err != nil {
		return nil, context.Canceled // the caller has gone, which says nothing of the socket
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.failures = 0
		return client, nil
	}
	pause := min(minPause<<min(p.failures, 20), maxPause)
	p.failures++
	p.notBefore = time.Now().Add(pause)
	p.log.WithError(err).WithField("retry_after", pause).Warn("cannot connect")
	return nil, &unavailable{fmt.Errorf("connect to %s: %w", p.settings.Socket, err), pause}
}

// private returns a connection for one call alone, who closes it.
func (p *pool) private(ctx context.Context) (*rpc.Client, error) {
	p.mu.Lock()
	err := p.pausedLocked()
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return p.connect(ctx)
}

// release gives back a connection that a call has had; nil if it got none.
func (p *pool) release(c *conn) {
	p.mu.Lock()
	p.active--
	if c != nil {
		if c.calls--; c.calls == 0 {
			p.restLocked(c)
		}
	}
	unused := p.unusedLocked()
	p.mu.Unlock()
	closeAll(unused)
}

// restLocked lets the idle timeout of a connection without calls begin.
func (p *pool) restLocked(c *conn) {
	var t *time.Timer
	t = time.AfterFunc(p.settings.IdleTimeout, func() {
		p.mu.Lock()
		idle := c.idle == t
		if idle {
			p.forgetLocked(c)
		}
		p.mu.Unlock()
		if idle {
			_ = c.client.Close() // never fails
		}
	})
	c.idle = t
}

// unusedLocked takes all connections out of a pool that nobody uses any more.
func (p *pool) unusedLocked() (unused []*conn) {
	if p.users > 0 || p.active > 0 {
		return nil
	}
	unused = slices.Clone(p.conns)
	for _, c := range unused {
		p.forgetLocked(c)
	}
	return unused
}

func (p *pool) forgetLocked(c *conn) {
	if c.idle != nil {
		c.idle.Stop()
		c.idle = nil
	}
	p.conns = slices.DeleteFunc(p.conns, func(other *conn) bool { return other == c })
}

// closeAll can take a second, while a cancel leaves.
func closeAll(conns []*conn) {
	for _, c := range conns {
		_ = c.client.Close() // never fails
	}
}

func (p *pool) use() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users++
}

// unuse counts a method out. After the last one connections close with the last
// call.
func (p *pool) unuse() {
	p.mu.Lock()
	p.users--
	unused := p.unusedLocked()
	p.mu.Unlock()
	closeAll(unused)
}
