package rpc

import (
	"os"
	"runtime"
	"sync"
)

// spareThreads is how many threads the runtime gets in a crowd, beyond one for each
// processor.
const spareThreads = 4

// spareFor is how long the spare threads stay after the last crowd: to change their
// number stops everything for a moment.
const spareFor = 10 * crowdedFor

// threads is how many threads run goroutines, runtime.GOMAXPROCS, which is the
// process's: what one server adds, all have.
//
// Linux has a thread wait that has used more of a processor than others that
// want it, sched(7). With one thread for each processor the server would wait in a
// crowd with all that it has to do, for those who give it little as for those who give
// it much. As no more connections are handled at once in a crowd than there are
// processors, spare threads mostly sleep then, and the kernel soon lets one run that
// wakes up. Where there is no crowd they would be in the way: one that has nothing to
// do looks for work, and takes that of others.
type threads struct {
	mu         sync.Mutex
	users      int // servers with a crowd
	processors int // without spare threads; valid while there are users
}

var processThreads threads

// add lets the runtime have spare threads, until remove.
func (t *threads) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users++; t.users == 1 {
		t.processors = runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(t.processors + spareThreads)
	}
}

// remove ends what add has begun. With the last one the number is the runtime's
// default again, which follows changes of the processors that the process may use.
func (t *threads) remove() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users--; t.users == 0 {
		runtime.SetDefaultGOMAXPROCS()
	}
}

// without is how many threads there are but for the spare ones.
func (t *threads) without() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users > 0 {
		return t.processors
	}
	return runtime.GOMAXPROCS(0)
}

// spareFunc has the runtime have spare threads, or no more; nil is not to do it.
func (s *Server) spareFunc() func(want bool) {
	if !s.SpareThreads || os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return func(want bool) {
		if want {
			processThreads.add()
		} else {
			processThreads.remove()
		}
	}
}
