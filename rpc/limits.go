package rpc

import (
	"fmt"
	"time"
)

// Limits bounds what the clients of a Server can consume together. The zero
// value of a field means its documented default, so the zero Limits is the
// recommended one. Negative values are refused by Validate; there is no value
// that means "unbounded".
//
// What is not promised: fairness between connections of one uid, and that a
// client which reconnects keeps its place in a queue.
type Limits struct {
	// MaxConnections is the number of connections served at once. Further ones
	// wait in a room of 8 accepted connections, the rest in the kernel's
	// backlog; root and the server's own uid pass through the room at once.
	// Default 500.
	MaxConnections int

	// MaxConnectionsPerUID is the number of connections of one uid, those that
	// wait included. It does not hold for root and the server's own uid.
	// Default 250.
	MaxConnectionsPerUID int

	// MaxConcurrentRequests is the number of handlers that run at once for
	// ordinary methods. Further calls wait in the line of their uid; a free
	// slot goes to the uid that has fewest, and in turns among equals. Streams
	// and control methods take no slot. Default 50.
	MaxConcurrentRequests int

	// MaxInFlightPerConnection is the number of calls of one connection that
	// are running, queued, or answered but not yet written. The connection is
	// read no further while it is reached. Default 64.
	MaxInFlightPerConnection int

	// MaxMessageBytes is the largest frame accepted or sent, its newline not
	// counted, in bytes. Default 16 MiB.
	MaxMessageBytes int

	// MaxBufferedBytes is how much input and output is held for all clients
	// together, in bytes: messages that are not complete, params of calls that
	// run or are queued, replies and events that are not read yet. The first
	// 20 KiB of input of a connection are not counted. Messages up to 64 KiB
	// never wait for it; larger ones wait up to QueueTimeout, in the order of
	// what their uids hold already, and are then refused with
	// CodeResourceExhausted and the connection is closed. Large messages of one
	// uid get half of it. Replies are never held back; where they make the sum
	// exceed the bound, the connection that has left most of them unread is
	// closed. At least twice MaxMessageBytes. Default 256 MiB.
	MaxBufferedBytes int

	// MaxBatch is the number of items in one batch. Default 100.
	MaxBatch int

	// MaxStreams is the number of streaming calls of all connections.
	// Default 50.
	MaxStreams int

	// MaxStreamsPerConnection is the number of streaming calls of one
	// connection. Default 8.
	MaxStreamsPerConnection int

	// ConnectionWaitTimeout is how long an accepted connection waits for a
	// place before it is told that there is none. Default 5 s.
	ConnectionWaitTimeout time.Duration

	// QueueTimeout is how long a call waits for a slot before it is refused
	// with CodeResourceExhausted. Default 30 s.
	QueueTimeout time.Duration

	// FrameTimeout is how long a frame may take from its first byte to its
	// newline. Default 30 s.
	FrameTimeout time.Duration

	// IdleTimeout is how long a connection may stay without a call in flight
	// and without input. Default 300 s.
	IdleTimeout time.Duration

	// WriteTimeout is how long the peer may take to accept output, for each
	// MiB of it or part of one. Default 10 s.
	WriteTimeout time.Duration

	// RequestTimeout is how long a handler may take where its Method does not
	// say otherwise. Default 300 s.
	RequestTimeout time.Duration
}

// DefaultLimits returns the limits that the zero Limits stands for.
func DefaultLimits() Limits {
	return Limits{
		MaxConnections:           500,
		MaxConnectionsPerUID:     250,
		MaxConcurrentRequests:    50,
		MaxInFlightPerConnection: 64,
		MaxMessageBytes:          16 << 20,
		MaxBufferedBytes:         256 << 20,
		MaxBatch:                 100,
		MaxStreams:               50,
		MaxStreamsPerConnection:  8,
		ConnectionWaitTimeout:    5 * time.Second,
		QueueTimeout:             30 * time.Second,
		FrameTimeout:             30 * time.Second,
		IdleTimeout:              300 * time.Second,
		WriteTimeout:             10 * time.Second,
		RequestTimeout:           300 * time.Second,
	}
}

// minMessageBytes is the smallest MaxMessageBytes: every refusal of this
// package fits into it.
const minMessageBytes = 1 << 10

// maxCount is the largest value of every limit that is a number: what fits in
// admission.slots, and in memory.
const maxCount = 1 << 30

// fields lists every limit once, by name, for the defaults and for Validate.
func (l *Limits) fields() (counts map[string]*int, durations map[string]*time.Duration) {
	return map[string]*int{
			"MaxConnections":           &l.MaxConnections,
			"MaxConnectionsPerUID":     &l.MaxConnectionsPerUID,
			"MaxConcurrentRequests":    &l.MaxConcurrentRequests,
			"MaxInFlightPerConnection": &l.MaxInFlightPerConnection,
			"MaxMessageBytes":          &l.MaxMessageBytes,
			"MaxBufferedBytes":         &l.MaxBufferedBytes,
			"MaxBatch":                 &l.MaxBatch,
			"MaxStreams":               &l.MaxStreams,
			"MaxStreamsPerConnection":  &l.MaxStreamsPerConnection,
		}, map[string]*time.Duration{
			"ConnectionWaitTimeout": &l.ConnectionWaitTimeout,
			"QueueTimeout":          &l.QueueTimeout,
			"FrameTimeout":          &l.FrameTimeout,
			"IdleTimeout":           &l.IdleTimeout,
			"WriteTimeout":          &l.WriteTimeout,
			"RequestTimeout":        &l.RequestTimeout,
		}
}

// WithDefaults returns l with every zero field replaced by its default.
func (l Limits) WithDefaults() Limits {
	def := DefaultLimits()
	counts, durations := l.fields()
	defCounts, defDurations := def.fields()
	for name, v := range counts {
		if *v == 0 {
			*v = *defCounts[name]
		}
	}
	for name, v := range durations {
		if *v == 0 {
			*v = *defDurations[name]
		}
	}
	return l
}

// Validate reports the first field, in alphabetical order, whose value can not
// be used, with its name and value.
func (l Limits) Validate() error {
	counts, durations := l.fields()
	for _, name := range sortedKeys(counts) {
		if v := *counts[name]; v < 0 {
			return fmt.Errorf("rpc: %s is %d, expected a positive number, or 0 for the default", name, v)
		} else if v > maxCount {
			return fmt.Errorf("rpc: %s is %d, expected at most %d", name, v, maxCount)
		}
	}
	for _, name := range sortedKeys(durations) {
		if v := *durations[name]; v < 0 {
			return fmt.Errorf("rpc: %s is %s, expected a positive duration, or 0 for the default", name, v)
		}
	}
	if v := l.MaxMessageBytes; v != 0 && v < minMessageBytes {
		return fmt.Errorf("rpc: MaxMessageBytes is %d, expected at least %d: smaller messages could not carry an error reply", v, minMessageBytes)
	}
	if d := l.WithDefaults(); d.MaxBufferedBytes < 2*d.MaxMessageBytes {
		return fmt.Errorf("rpc: MaxBufferedBytes is %d, expected at least twice MaxMessageBytes, which is %d: one large message must always get through", d.MaxBufferedBytes, d.MaxMessageBytes)
	}
	return nil
}
