package daemon

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/marianned/marianned/rpc"
)

const (
	// gcPercent lets garbage grow to four times what lives. That is little,
	// while clients hold little, and saves most of the collections; while they
	// hold much, the memory limit rules.
	gcPercent = 400

	// ownMemory is what the daemon may use beside what clients make it hold, in
	// bytes: stacks, the state of connections, garbage.
	ownMemory = 112 << 20

	// quietLooks is for how many looks, one a second, little must have been
	// allocated before memory is given back.
	quietLooks = 5
	// quietBytes is what little is, in bytes for each look.
	quietBytes = 2 << 20
	// worthwhile is how much more than after the last time there must be to
	// give back, in bytes.
	worthwhile = 2 << 20
)

// boundMemory sets the collector's pace by the limits, unless the environment
// says it (GOGC, GOMEMLIMIT).
func boundMemory(limits rpc.Limits) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(limits))
	}
}

// memoryLimit returns the soft limit of the runtime's memory, in bytes.
func memoryLimit(limits rpc.Limits) int64 {
	if limits.MaxBufferedBytes == 0 {
		limits = rpc.DefaultLimits()
	}
	return int64(min(uint64(limits.MaxBufferedBytes)+ownMemory, math.MaxInt64))
}

// memoryKeeper gives memory back to the system once a load has passed. The
// runtime by itself keeps, for minutes and more, what it needed at the worst
// moment: the collector runs too seldom in a daemon that has little to do.
type memoryKeeper struct {
	samples   []metrics.Sample
	release   func()
	allocated uint64 // at the last look, since the start
	quiet     int    // looks
	kept      uint64 // bytes after the last release
}

func newMemoryKeeper() *memoryKeeper {
	return &memoryKeeper{
		samples: []metrics.Sample{
			{Name: "/gc/heap/allocs:bytes"},
			{Name: "/memory/classes/total:bytes"},
			{Name: "/memory/classes/heap/released:bytes"},
		},
		release: func() {
			runtime.GC() // pools keep over one collection what they hold
			debug.FreeOSMemory()
		},
	}
}

// look is called once a second.
func (k *memoryKeeper) look() {
	metrics.Read(k.samples)
	if k.due(k.samples[0].Value.Uint64(), k.inUse()) {
		k.release()
		metrics.Read(k.samples)
		k.kept = k.inUse()
	}
}

// due reports whether memory is to be given back, from what was allocated since
// the start and what the system has given and not got back, in bytes.
func (k *memoryKeeper) due(allocated, inUse uint64) bool {
	if allocated-k.allocated > quietBytes {
		k.quiet = 0
	} else {
		k.quiet++
	}
	k.allocated = allocated
	k.kept = min(k.kept, inUse)
	if k.quiet < quietLooks || inUse < k.kept+worthwhile {
		return false
	}
	k.quiet = 0
	return true
}

func (k *memoryKeeper) inUse() uint64 {
	return k.samples[1].Value.Uint64() - k.samples[2].Value.Uint64()
}
