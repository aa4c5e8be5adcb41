package rpc

import (
	"os"
	"runtime"
	"sync"
)

// spareThreads is how many threads the runtime gets in a crowd, beyond one for each
// processor.
const spareThreads = 4

// spareFor is how long the spare threads stay after the last crowd, while anybody is
// busy: to change their number stops everything for a moment, and has the buffers that
// are kept for reuse (sync.Pool) made anew.
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
//
// The runtime changes the number between two collections of garbage, for which a
// goroutine waits that nobody else waits for.
type threads struct {
	mu         sync.Mutex
	users      int  // servers with a crowd
	spare      bool // the runtime has spare threads, or will in a moment
	processors int  // without them; valid while there are any
	changing   bool // there is a goroutine
}

var processThreads threads

// add lets the runtime have spare threads soon, until remove.
func (t *threads) add() { t.use(1) }

// remove ends what add has begun. With the last one the number is the runtime's
// default again, which follows changes of the processors that the process may use;
// unless the program has set another meanwhile.
func (t *threads) remove() { t.use(-1) }

func (t *threads) use(more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users += more
	if !t.changing && t.spare != (t.users > 0) {
		t.changing = true
		go t.change()
	}
}

// change does what the users want, until they have it.
func (t *threads) change() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.spare != (t.users > 0) {
		now := runtime.GOMAXPROCS(0)
		if !t.spare {
			t.spare, t.processors = true, now
			t.unlocked(func() { runtime.GOMAXPROCS(now + spareThreads) })
			continue
		}
		if now == t.processors+spareThreads {
			t.unlocked(runtime.SetDefaultGOMAXPROCS)
		}
		t.spare = false
	}
	t.changing = false
}

// unlocked calls f without the lock.
func (t *threads) unlocked(f func()) {
	t.mu.Unlock()
	defer t.mu.Lock()
	f()
}

// without is how many threads there are but for the spare ones.
func (t *threads) without() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spare {
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
