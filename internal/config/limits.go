package config

import (
	"reflect"
	"time"

	"github.com/marianned/marianned/rpc"
)

// LimitSetting is one bound that an operator can set.
type LimitSetting struct {
	Field string // of rpc.Limits
	Flag  string // without its dashes
	Usage string // unit included
}

// LimitSettings are all fields of rpc.Limits, in the order in which they are
// shown.
var LimitSettings = []LimitSetting{
	{"MaxConnections", "max-connections", "connections served at once; 8 more wait, the rest in the kernel's backlog"},
	{"MaxConnectionsPerUID", "max-connections-per-uid", "connections of one uid; root and the daemon's own uid are free of it"},
	{"MaxConcurrentRequests", "max-concurrent-requests", "calls that run at once; further ones wait in the queue of their uid"},
	{"MaxInFlightPerConnection", "max-in-flight-per-connection", "unanswered calls of one connection; it is read no further at this bound"},
	{"MaxMessageBytes", "max-message-bytes", "largest message accepted or sent, in bytes"},
	{"MaxBufferedBytes", "max-buffered-bytes", "input and output held for all clients together, in bytes"},
	{"MaxBatch", "max-batch", "calls in one batch"},
	{"MaxStreams", "max-streams", "streams of all connections"},
	{"MaxStreamsPerConnection", "max-streams-per-connection", "streams of one connection"},
	{"ConnectionWaitTimeout", "connection-wait-timeout", "how long a connection waits for a place"},
	{"QueueTimeout", "queue-timeout", "how long a call waits for its turn"},
	{"FrameTimeout", "frame-timeout", "how long a message may take from its first byte to its last"},
	{"IdleTimeout", "idle-timeout", "how long a connection may stay without a call"},
	{"WriteTimeout", "write-timeout", "how long a client may take to read each MiB of its replies"},
	{"RequestTimeout", "request-timeout", "how long a call may run, unless its method says otherwise"},
}

// In returns a pointer to the setting's value in limits; one of the two is nil.
func (s LimitSetting) In(limits *rpc.Limits) (count *int, duration *time.Duration) {
	switch v := reflect.ValueOf(limits).Elem().FieldByName(s.Field).Addr().Interface().(type) {
	case *int:
		return v, nil
	case *time.Duration:
		return nil, v
	}
	panic("config: " + s.Field + " of rpc.Limits is neither an int nor a duration")
}
