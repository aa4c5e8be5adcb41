// Package rpc is a JSON-RPC 2.0 server and client for Unix sockets, with one
// message a line, in which everything that a client can consume is bounded.
package rpc
