package rpc

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// Stats is a view of a server's counters. The numbers are taken one after the
// other, not at one instant.
type Stats struct {
	Connections int // served now
	Waiting     int // accepted and waiting for a place
	Running     int // handlers that hold a slot now
	Queued      int // calls that wait for a slot, or for their method
	Streams     int // open streams
	Draining    bool
	// BufferedBytes is what Limits.MaxBufferedBytes bounds, in bytes.
	BufferedBytes int

	TotalConnections uint64 // connections that got a place
	TotalRequests    uint64 // calls and notifications, answered or refused
	// Refusals counts refused connections and calls by reason.
	Refusals map[string]uint64
}

// ConnectionStats is a view of one connection.
type ConnectionStats struct {
	// Number counts the connections of the server from 1. It is the "conn" of its
	// log, and part of its request ids.
	Number uint64
	Peer   *Peer
	// Since is when the server began to serve it.
	Since time.Time
	// InFlight is how many calls run or wait, streams included; one that runs since
	// a millisecond or two may be left out.
	InFlight int
	Streams  int
	// BufferedBytes is its part of Stats.BufferedBytes, in bytes.
	BufferedBytes int
}

// Connections returns the connections that are served, in their order. Each is
// looked at by itself, not all at one instant.
func (s *Server) Connections() []ConnectionStats {
	s.init()
	conns := s.inOrder()
	stats := make([]ConnectionStats, len(conns))
	for i, c := range conns {
		stats[i] = c.stats()
	}
	return stats
}

func (c *conn) stats() ConnectionStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConnectionStats{
		Number: c.number, Peer: c.peer, Since: c.opened,
		InFlight: len(c.calls), Streams: c.streams, BufferedBytes: int(c.held.Load()),
	}
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventConnectionOpened EventKind = "connection_opened"
	EventConnectionClosed EventKind = "connection_closed"
	EventCall             EventKind = "call"    // a call, notification or stream ended
	EventRefusal          EventKind = "refusal" // a bound, the policy or a drain refused something
)

// Event is one thing that a server did, for monitoring. It never holds params
// or results.
type Event struct {
	Kind      EventKind
	Time      time.Time
	Peer      *Peer
	Method    string        // calls and refusals of calls
	RequestID string        // calls
	Duration  time.Duration // calls: from the read that brought it to its reply
	Code      int           // error code of the reply; 0 for a result
	Reason    string        // refusals
}

// watchers is the set of functions that Monitor registered. With none of them
// a request pays for one atomic load.
type watchers struct {
	list atomic.Pointer[[]*func(Event)]
}

func (w *watchers) active() bool { return w.list.Load() != nil }

func (w *watchers) emit(e Event) {
	if list := w.list.Load(); list != nil {
		for _, f := range *list {
			(*f)(e)
		}
	}
}

// change replaces the list by what edit makes of a copy of it.
func (w *watchers) change(edit func([]*func(Event)) []*func(Event)) {
	for {
		old := w.list.Load()
		var list []*func(Event)
		if old != nil {
			list = slices.Clone(*old)
		}
		list = edit(list)
		var next *[]*func(Event)
		if len(list) > 0 {
			next = &list
		}
		if w.list.CompareAndSwap(old, next) {
			return
		}
	}
}

// Monitor calls f for every event from now until stop is called; an event that
// is on its way then may still arrive. f is called from the goroutines that
// serve clients: it must not block.
func (s *Server) Monitor(f func(Event)) (stop func()) {
	entry := &f
	s.watchers.change(func(l []*func(Event)) []*func(Event) { return append(l, entry) })
	return func() {
		s.watchers.change(func(l []*func(Event)) []*func(Event) {
			return slices.DeleteFunc(l, func(e *func(Event)) bool { return e == entry })
		})
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
