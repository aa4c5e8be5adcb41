package rpc

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// The actions of a plan, each as often as it stands here.
var simActions = strings.Fields(`
	dial dial dial call call call call call call call call notification notification batch batch batch stream stream
	cancel cancel cancel duplicate invalid spaces deaf deaf hear hear mute mute speak speak hangup shut limits methods
	tooLarge handover shutdown`)

func newSimulation(t *testing.T, seed uint64, f *fault) *simulation {
	s := &simulation{
		t: t, began: time.Now(), random: rand.New(rand.NewPCG(seed, 0)), executions: newExecutions(),
		stopped: make(chan error, 1), reasons: make(chan simReason, 1000),
		crowded: seed%2 == 0,
	}
	s.net = newSimNet(s.pick(300, 300, 4<<10, 4<<10, 64<<10, 256<<10), f)
	for _, kind := range simActions { // a plan that lacks some has more of the others
		if kind == "dial" || kind == "call" || s.random.IntN(4) > 0 {
			s.kinds = append(s.kinds, kind)
		}
	}
	limits := s.someLimits()
	s.srv = s.newServer(limits)
	s.ceiling.raise(limits.WithDefaults())
	s.note("buffers of %d bytes, limits %+v", s.net.capacity, limits)
	s.dial()
	return s
}

func (s *simulation) newServer(limits Limits) *Server {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.DebugLevel)
	logger.AddHook(s)
	srv := &Server{Methods: s.executions.methods(2, true), Limits: limits, Logger: logger, Authorize: simAuthorize}
	if s.crowded {
		srv.sweeper.late = -time.Hour
	}
	return srv
}

func (s *simulation) someLimits() Limits {
	ms := func(from ...int) time.Duration { return time.Duration(s.pick(from...)) * time.Millisecond }
	l := Limits{
		MaxConnections:           s.pick(1, 2, 3, 500),
		MaxConnectionsPerUID:     s.pick(1, 2, 250, 250),
		MaxConcurrentRequests:    s.pick(1, 1, 2, 3, 4),
		MaxInFlightPerConnection: s.pick(1, 2, 3, 10, 64),
		MaxMessageBytes:          s.pick(2<<10, 64<<10, 100<<10, 16<<20),
		MaxBatch:                 s.pick(3, 5, 100),
		MaxStreams:               s.pick(1, 3, 50),
		MaxStreamsPerConnection:  s.pick(1, 2, 8),
		ConnectionWaitTimeout:    ms(20, 100, 5000),
		QueueTimeout:             ms(10, 20, 100, 5000),
		FrameTimeout:             ms(20, 50, 200, 5000),
		IdleTimeout:              ms(100, 300_000, 300_000),
		WriteTimeout:             ms(20, 50, 200, 5000),
		RequestTimeout:           ms(20, 50, 5000),
	}
	l.MaxBufferedBytes = l.MaxMessageBytes * s.pick(2, 3, 8)
	return l
}

// act does one thing.
func (s *simulation) act() {
	kind := s.kinds[s.random.IntN(len(s.kinds))]
	if s.successor != nil && (kind == "limits" || kind == "methods" || kind == "shutdown") {
		return // they would be lost with the old server
	}
	switch kind {
	case "dial":
		s.dial()
		return
	case "limits":
		l := s.someLimits()
		s.note("limits %+v", l)
		s.ceiling.raise(l.WithDefaults())
		if err := s.srv.SetLimits(l); err != nil {
			s.problem("%v", err)
		}
		return
	case "methods":
		gate, optional := s.pick(1, 2, 3), s.random.IntN(2) == 0
		s.note("methods: gated is bound to %d, timed is there: %t", gate, optional)
		s.srv.SetMethods(s.executions.methods(gate, optional))
		return
	case "handover":
		if !s.stopping && s.successor == nil && s.random.IntN(3) == 0 {
			s.handOver()
		}
		return
	case "shutdown":
		if !s.stopping && s.random.IntN(3) == 0 {
			s.shutdown(time.Duration(s.pick(0, 5, 20, 100, 1000, 10_000)) * time.Millisecond)
		}
		return
	}
	c := s.clients[s.random.IntN(len(s.clients))]
	if c.left || c.ended {
		return
	}
	c.act(kind)
}

func (s *simulation) dial() {
	if len(s.clients) >= 20 {
		return
	}
	// The uids are none that the tests run as: the server's own has privileges.
	c := &simClient{sim: s, number: len(s.clients), uid: uint32(s.pick(0, 70_001, 70_001, 70_002, 70_003)), byID: make(map[string]*simRequest)}
	c.end = s.net.dial(c.uid, int32(c.number))
	s.clients = append(s.clients, c)
	s.note("client %d of uid %d connects", c.number, c.uid)
}

func (c *simClient) act(kind string) {
	s := c.sim
	switch kind {
	case "call", "notification", "stream":
		r := c.request(kind, nil)
		c.note("%s %s: %s %+v", kind, r.id, r.method, shortened(r.work))
		c.queue(r.text(), r)
	case "batch":
		c.batch()
	case "cancel":
		c.cancel()
	case "duplicate":
		if len(c.order) == 0 {
			return
		}
		if of := c.order[s.random.IntN(len(c.order))]; of.id != "" && !of.stream() {
			r := c.request("call", nil)
			r.id = of.id
			c.note("call %s once more: %s", r.id, r.method)
			c.queue(r.text(), r)
		}
	case "invalid":
		c.invalid()
	case "spaces":
		c.queue([]string{"", " ", "\r", "\t \r"}[s.random.IntN(4)])
	case "deaf", "hear":
		c.note("%s", kind)
		c.stallReading(kind == "deaf")
	case "mute", "speak":
		c.note("%s, with %d bytes to send", kind, len(c.outbox))
		c.stallWriting(kind == "mute")
	case "hangup", "shut":
		if s.random.IntN(3) > 0 {
			return
		}
		c.note("%s, with %d bytes to send", kind, len(c.outbox))
		c.left = true
		if kind == "shut" {
			c.end.endOfWriting()
		} else {
			c.end.hangUp()
		}
	case "tooLarge":
		if l := s.srv.CurrentLimits(); l.MaxMessageBytes <= 100<<10 && s.random.IntN(3) == 0 {
			c.note("a message that is too large")
			c.nameless++
			c.queue(`"` + strings.Repeat("x", l.MaxMessageBytes) + `"`)
		}
	default:
		panic(kind)
	}
}

func (c *simClient) note(format string, args ...any) {
	c.sim.note("client %d: %s", c.number, fmt.Sprintf(format, args...))
}

func shortened(w simWork) simWork {
	if len(w.Pad) > 5 {
		w.Pad = fmt.Sprintf("(%d bytes)", len(w.Pad))
	}
	return w
}

// request makes a request that the caller sends.
func (c *simClient) request(kind string, b *simBatch) *simRequest {
	s := c.sim
	c.lastID++
	r := &simRequest{id: fmt.Sprint(c.lastID), batch: b, work: simWork{Token: fmt.Sprintf("%d.%d", c.number, c.lastID)}}
	if s.random.IntN(4) == 0 {
		r.id = fmt.Sprintf(`"%d"`, c.lastID)
	}
	methods := strings.Fields("work work work work echo echo bound bound gated gated gated control timed fail panic goexit hidden denied unknown array")
	r.method = methods[s.random.IntN(len(methods))]
	r.work.MS = s.pick(0, 0, 0, 1, 2, 5, 20, 20, 50, 200)
	r.work.Deaf = s.random.IntN(4) == 0
	switch {
	case kind == "notification":
		r.id = ""
	case kind == "stream":
		r.method = []string{"watch", "must"}[s.random.IntN(2)]
		r.work.Events, r.work.Bytes = s.pick(0, 1, 3, 10), s.pick(0, 10, 300, 1500)
		r.work.MS = s.pick(0, 0, 1, 5)
		return r
	}
	if s.random.IntN(4) == 0 {
		switch r.method {
		case "work":
			r.work.Bytes = s.pick(1000, 3000, 30_000, 70_000, 101<<10)
		case "echo":
			r.work.Pad = strings.Repeat("p", s.pick(1000, 1700, 30_000, 63<<10, 90_000))
		}
	}
	if n := s.srv.CurrentLimits().MaxMessageBytes; len(r.work.Pad) > n/2 {
		r.work.Pad = "" // the message, or its echo, would not fit
	}
	return r
}

func (c *simClient) batch() {
	s := c.sim
	b := new(simBatch)
	n := 1 + s.random.IntN(6)
	for range n {
		b.calls = append(b.calls, c.request([]string{"call", "call", "call", "notification", "stream"}[s.random.IntN(5)], b))
	}
	for _, r := range b.calls { // a stream in a batch is refused, or its place is not
		if r.id == "" && r.stream() {
			r.method = "work"
		}
	}
	text := b.text()
	if limit := s.srv.CurrentLimits(); n > limit.MaxBatch || n > 3 || len(text) > limit.MaxMessageBytes/2 {
		return // other limits may hold when it arrives
	}
	c.note("batch of %d: %s … %s", n, b.calls[0].id, b.calls[n-1].id)
	c.batches = append(c.batches, b)
	c.queue(text, b.calls...)
}

// cancel cancels a call that was sent, be it answered or not.
func (c *simClient) cancel() {
	var calls []*simRequest
	for _, r := range c.order {
		if r.id != "" && r.answers == 0 && r.cancels == nil {
			calls = append(calls, r)
		}
	}
	if len(calls) == 0 {
		return
	}
	s := c.sim
	target := calls[s.random.IntN(len(calls))]
	target.cancelled = true
	r := c.request("call", nil)
	if s.random.IntN(2) == 0 {
		r.id = ""
	}
	r.method, r.cancels = []string{cancelMethod, cancelAlias}[s.random.IntN(2)], target
	c.note("cancel %s of %s", r.id, target.id)
	c.queue(r.text(), r)
}

// invalid sends what is answered under no id.
func (c *simClient) invalid() {
	frames := []string{`{`, `nonsense`, `[]`, `[1,2`, `7`, `{"jsonrpc":"1.0","method":"work"}`, `{"jsonrpc":"2.0","method":"work","id":{}}`, "\"\xff\"", `[7]`,
		`[` + strings.Repeat(`{"jsonrpc":"2.0","method":"work"},`, 100) + `7]`}
	frame := frames[c.sim.random.IntN(len(frames))]
	c.note("what is no request: %.40q", frame)
	c.nameless++
	c.queue(frame)
}
