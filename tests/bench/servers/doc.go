// Package servers has the servers that are measured: the reference, marianned,
// and its peers. Each echoes the params of a call, over a Unix socket, and is
// set up for speed as far as its options go.
package servers
