// Package wirescript plays protocol tests that are written as readable scripts
// (rpc/testdata): what a client sends, and what it must read.
//
//	# A comment.
//	limits: frame-timeout=300ms            bounds, by the names of serve's flags
//	needs: fixture                         methods that the daemon does not have
//
//	--> {"jsonrpc":"2.0","method":"rpc.ping","id":1}
//	<-- {"jsonrpc":"2.0","id":1,"result":"pong"}
//
// The lines before the first step are the header; then come
//
//	--> TEXT         send TEXT and a newline
//	!half TEXT       send TEXT without a newline
//	!drip TEXT       send TEXT and a newline, byte by byte
//	!stall 2s        do nothing for a time
//	<-- TEXT         the next frame must be TEXT, compared as JSON; an array, the
//	                 replies to a batch, holds its items in any order (JSON-RPC
//	                 2.0, section 6)
//	<== TEXT         the next frame must be TEXT, byte by byte
//	<~~ TEXT         with its neighbours of the kind: in any order
//	!silence         no frame may be on its way: the next one answers a ping
//	!eof             the server must close the connection
//	!halfclose       end our direction only
//	!close           close the connection
//	!on NAME         go on with another connection, made at first use
//
// In an expected TEXT the string "…" stands for any value. TEXT is a template
// (text/template): {{repeat "[" 1000}}, {{bytes "\xff"}} for bytes that a text
// file does not hold.
package wirescript
