package rpc

import (
	"os"
	"runtime"
	"sync"
)

// spareThreads is how many threads the runtime gets beyond one for each processor.
const spareThreads = 4

// SpareThreads lets the Go runtime run goroutines on four threads more than the
// program may compute with (runtime.GOMAXPROCS), and returns how many that are,
// for Server.Processors. It is for the start of a program that serves many users.
//
// Linux has a thread wait that has used more of a processor than others that
// want it, sched(7). With one thread for each processor the server would wait with
// all that it has to do, for those who give it little as for those who give it much.
// As the server handles no more connections at once than there are processors, where
// they have much to do, the spare threads mostly sleep, and the kernel soon lets one
// run that wakes up.
//
// It changes the whole program, once: later calls only return the number. Where the
// environment variable GOMAXPROCS is set, that is left as it is. The runtime does not
// follow changes of a cgroup's limit any more.
func SpareThreads() (processors int) { return addSpareThreads() }

var addSpareThreads = sync.OnceValue(func() int {
	processors := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors + spareThreads)
	}
	return processors
})

// processors is how many readers may compute at once.
func (s *Server) processors() int {
	if s.Processors > 0 {
		return s.Processors
	}
	return runtime.GOMAXPROCS(0)
}
