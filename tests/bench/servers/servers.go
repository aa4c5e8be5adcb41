package servers

import (
	"net"

	"github.com/marianned/marianned/tests/bench/workload"
)

// Server is one row of the table.
type Server struct {
	Name string // for -servers
	// Dialect is how it is spoken to.
	Dialect Dialect
	// Module is the path of the module it comes from; "" for the reference.
	Module string
	// Peer is set for the servers of others.
	Peer bool
	// Typed is set where the handler sees Go values, not JSON text.
	Typed bool

	serve func(l net.Listener, w *workload.Workload) error
}

// Reference is the name of the server that all others are compared with.
const Reference = "raw-echo"

const marianned = "github.com/marianned/marianned"

// All is every server, in the order of the table.
func All() []*Server {
	return []*Server{
		{Name: Reference, serve: rawEcho},
		{Name: "marianned", Module: marianned, serve: mariannedRaw},
		{Name: "marianned-typed", Module: marianned, Typed: true, serve: mariannedTyped},
		{Name: "jrpc2", Module: "github.com/creachadair/jrpc2", Peer: true, serve: creachadair},
		{Name: "sourcegraph", Module: "github.com/sourcegraph/jsonrpc2", Peer: true, serve: sourcegraph},
		{Name: "go-ethereum", Module: "github.com/ethereum/go-ethereum", Peer: true, Dialect: Positional, serve: ethereum},
		{Name: "net/rpc", Module: "net/rpc/jsonrpc", Peer: true, Dialect: JSONRPC1, serve: netRPC},
		{Name: "net/http", Module: "net/http", Peer: true, Dialect: HTTP, serve: netHTTP},
		{Name: "grpc-go", Module: "google.golang.org/grpc", Peer: true, Dialect: GRPC, serve: googleRPC},
	}
}

// String is the name.
func (s *Server) String() string { return s.Name }

// Serve serves one workload on l. It returns only with an error.
func (s *Server) Serve(l net.Listener, w *workload.Workload) error { return s.serve(l, w) }

// each runs serve for every connection of l.
func each(l net.Listener, serve func(*net.UnixConn)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(c.(*net.UnixConn))
	}
}

// params is what a typed handler takes and returns.
type params struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}
