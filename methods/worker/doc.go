// Package worker keeps programs running that answer calls on their stdin and
// stdout, one JSON-RPC message a line, as MCP servers do.
//
//	Read: definition ─> Settings        Workers: one pool for each definition, across reloads
//	Call ─> pool.submit ─> waiting ─> a process's queue ─> its stdin
//	                          ^            │ its end, before a byte was written
//	                          └────────────┘
//	stdout ─> reply: the call it is for    notification: an event of its stream    request: refused
//	stderr ─> the log
//
// All that changes is in one struct, pool, under its lock: which processes there
// are, which calls wait, and which are with which process. A call is answered by
// whoever takes it out of there, so once.
//
// A process has four goroutines, none of which holds the lock while it waits:
//
//	run     starts it, waits for its exit, ends what is left of its group, waits for the other three
//	read    stdout; ends with it, or a little after the exit where somebody else has it open
//	write   stdin; run closes it after the exit
//	log     stderr; like stdout
//
// A process that takes nothing in fills its pipe: the calls behind it wait in
// the queue, and can be given up, or go to another process at its end. One that
// says nothing is not ended while it may be working on a call that somebody
// waits for; see process.suspectLocked for when it is.
//
// What was written may have been executed, whether it was answered or not: a
// call is never said not to have been once a byte of it was taken by the pipe.
package worker
