package rpc

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func newSweeper(look func() observations, queued func() bool) *sweeper {
	w := &sweeper{}
	w.init(look, queued, 2, nil)
	return w
}

// TestReadersSweepWhereTheyAreFew: the goroutine sleeps while readers that get input
// do its work, and is there when none does.
func TestReadersSweepWhereTheyAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var active, looks atomic.Int64
		w := newSweeper(func() observations {
			looks.Add(1)
			return observations{active: int(active.Load())}
		}, func() bool { return false })
		active.Store(1)
		done := make(chan struct{})
		go w.run(done)
		defer close(done)
		synctest.Wait()

		// pass returns how many looks a reader made that gets input every 0.1 ms, and how
		// many there were besides.
		pass := func(inputs int) (byReader, byItself int64) {
			all := looks.Load()
			for range inputs {
				time.Sleep(100 * time.Microsecond)
				synctest.Wait()
				before := looks.Load()
				w.pass(time.Now())
				byReader += looks.Load() - before
			}
			return byReader, looks.Load() - all - byReader
		}
		byReader, byItself := pass(1000)
		require.LessOrEqual(t, byItself, int64(1)) // who began hands it over
		require.Greater(t, byReader, int64(5))

		before := looks.Load()
		time.Sleep(maxTakeoverInterval + sweeperGrace)
		synctest.Wait()
		require.Equal(t, before+1, looks.Load(), "a reader that is stuck can not look for itself")

		active.Store(3) // more than processors
		time.Sleep(maxTakeoverInterval + sweeperGrace)
		synctest.Wait()
		byReader, byItself = pass(1000)
		require.Zero(t, byReader, "how late the goroutine is shows whether there is a crowd")
		require.Greater(t, byItself, int64(5))

		active.Store(0)
		time.Sleep((idleSweeps + 1) * (maxTakeoverInterval + sweeperGrace))
		synctest.Wait()
		require.True(t, w.asleep.Load())
		byReader, byItself = pass(1000)
		require.Zero(t, byReader+byItself, "nobody is busy")
	})
}

// TestACrowdIsMoreThanThereAreProcessors: that the goroutine comes late may have other
// causes than the server's clients.
func TestACrowdIsMoreThanThereAreProcessors(t *testing.T) {
	active, queue, now := 2, false, time.Now()
	w := newSweeper(func() observations { return observations{active: active} }, func() bool { return queue })
	w.begin()
	defer w.end()
	sweep := func(late bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sweepLocked(now, late)
	}
	sweep(true)
	require.False(t, w.crowded.Load())
	require.False(t, w.many.Load())
	active = 3
	sweep(false)
	require.False(t, w.crowded.Load())
	require.True(t, w.many.Load())
	sweep(true)
	require.True(t, w.crowded.Load())
	active, now = 2, now.Add(crowdedFor/2)
	sweep(true)
	require.True(t, w.crowded.Load(), "what is done about a crowd makes it look as if it had gone")
	now = now.Add(crowdedFor)
	sweep(true)
	require.False(t, w.crowded.Load())
	queue = true
	sweep(false)
	require.True(t, w.crowded.Load())
}

// TestSystemCallsThatTheRuntimeIsNotToldOf have the results of those that it is told of.
func TestSystemCallsThatTheRuntimeIsNotToldOf(t *testing.T) {
	for _, quick := range []bool{false, true} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		defer func() { _ = unix.Close(fds[0]) }()
		b := make([]byte, quickBytes)
		_, err = read(fds[1], b, quick)
		require.ErrorIs(t, err, unix.EAGAIN)
		n, err := write(fds[0], []byte("hello"), quick)
		require.NoError(t, err)
		require.Equal(t, 5, n)
		n, err = write(fds[0], nil, quick)
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = read(fds[1], b, quick)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b[:n]))
		for err == nil {
			n, err = write(fds[0], b, quick)
		}
		require.ErrorIs(t, err, unix.EAGAIN)
		require.Negative(t, n)
		require.NoError(t, unix.Close(fds[1]))
		_, err = write(fds[0], b, quick)
		require.ErrorIs(t, err, unix.EPIPE)
		_, err = read(-1, b, quick)
		require.ErrorIs(t, err, unix.EBADF)
	}
}
