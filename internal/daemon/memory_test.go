package daemon

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestMemoryIsGivenBackOnceALoadHasPassed(t *testing.T) {
	const mib = 1 << 20
	k := &memoryKeeper{kept: 10 * mib}
	allocated := uint64(0)
	looks := func(n int, allocates, inUse uint64) (due int) {
		for range n {
			allocated += allocates
			if k.due(allocated, inUse) {
				due++
			}
		}
		return due
	}
	assert.Zero(t, looks(60, 50*mib, 300*mib), "under load")
	assert.Zero(t, looks(quietLooks-1, 0, 300*mib), "a load that pauses")
	assert.Zero(t, looks(1, 50*mib, 300*mib))
	assert.Equal(t, 1, looks(quietLooks, 0, 300*mib))
	k.kept = 12 * mib
	assert.Zero(t, looks(3600, 100, 12*mib), "there is nothing to give back")
	assert.Equal(t, 1, looks(quietLooks, 100, 12*mib+worthwhile))
}

func TestTheMemoryKeeperReleasesWhatTheRuntimeKeeps(t *testing.T) {
	k := newMemoryKeeper()
	metrics.Read(k.samples)
	before := k.inUse()
	func() {
		load := make([]byte, 64<<20)
		for i := range load {
			load[i] = 1
		}
		runtime.KeepAlive(load)
	}()
	metrics.Read(k.samples)
	require.Greater(t, k.inUse(), before+60<<20)
	for range quietLooks + 1 {
		k.look()
	}
	metrics.Read(k.samples)
	assert.Less(t, k.inUse(), before+10<<20)
}

func TestTheMemoryLimitFollowsTheBoundOfWhatClientsHold(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	defer func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}()
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	boundMemory(rpc.Limits{})
	assert.EqualValues(t, (256+112)<<20, debug.SetMemoryLimit(-1))
	boundMemory(rpc.Limits{MaxBufferedBytes: 1 << 30})
	assert.EqualValues(t, (1024+112)<<20, debug.SetMemoryLimit(-1))
	assert.Equal(t, gcPercent, debug.SetGCPercent(100))

	t.Setenv("GOMEMLIMIT", "1GiB")
	t.Setenv("GOGC", "100")
	boundMemory(rpc.Limits{})
	assert.EqualValues(t, (1024+112)<<20, debug.SetMemoryLimit(-1), "the operator's is left alone")
	assert.Equal(t, 100, debug.SetGCPercent(100))
}
