// Package load is the client of the benchmark. It must not be what is measured,
// so requests are made before the clock starts, bytes that come are compared
// with the bytes that should come, and nothing is allocated in between.
//
//	Run ─> one thread for each core, or for each connection if there are fewer
//	         serial   one connection, one call at once: write(2), read(2)
//	         evented  many connections or many calls: epoll(7)
//	         connect  a connection for each call
//	       session    what to send, and whether what came is right, by dialect
//	       flight     which calls are in flight, and how long they took
//
// Each thread owns its connections, its counts and its histogram; they are added
// up when all have ended.
package load
