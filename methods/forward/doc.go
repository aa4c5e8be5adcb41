// Package forward answers methods by another JSON-RPC Unix socket.
//
//	Call ─┬─ small params ─> pool: the connection with the fewest calls ─> rpc.Client
//	      └─ large params, streams ─> a connection of their own
//
// A pool is guarded by its lock: its connections, how many calls each has, and
// when one may be dialled again after a failure. A call holds the lock only to
// choose a connection and to give it back. The goroutines are those of the
// clients, which end with their connections, and one that dials, which ends with
// connect_timeout.
//
// A client gives its connection up where a caller goes away in the middle of a
// message, and with it the calls of others; so what can take long to send goes
// alone. So do streams: a server may have a bound on those of a connection, and
// one that does not say which of them an event belongs to can have but one.
//
// Whether a call that failed was executed is what the other server says of it,
// else what rpc.CallError says. One that was certainly not sent is sent again
// over another connection.
package forward
