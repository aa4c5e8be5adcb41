// Package wire plays the scripts of rpc/testdata against built programs, over
// real sockets: marianned itself where its own methods do, else the program in
// fixture, which embeds the same server.
package wire
