package rpc

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSpareThreads: a process of its own, since the number is that of the process.
func TestSpareThreads(t *testing.T) {
	if os.Getenv("RPC_SPARE_CHILD") != "" {
		before := runtime.GOMAXPROCS(0)
		more := func() int {
			for changing() {
				runtime.Gosched()
			}
			return runtime.GOMAXPROCS(0) - before
		}
		var crowds []*sweeper
		for range 2 { // two servers of one process
			srv := &Server{SpareThreads: true}
			srv.init()
			crowds = append(crowds, &srv.sweeper)
		}
		want := func(i int, want bool) int {
			crowds[i].mu.Lock()
			defer crowds[i].mu.Unlock()
			crowds[i].wantThreadsLocked(want)
			return more()
		}
		fmt.Println(more(), want(0, true), want(0, true), want(1, true), processThreads.without()-before,
			want(0, false), want(0, false), want(1, false), processThreads.without()-before)
		want(0, true)
		runtime.GOMAXPROCS(before + 7) // the program's own doing
		fmt.Println(want(0, false))
		os.Exit(0)
	}
	for set, want := range map[string]string{"": "0 4 4 4 0 4 4 0 0\n7\n", "3": "0 0 0 0 0 0 0 0 0\n7\n"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSpareThreads$")
		cmd.Env = append(os.Environ(), "RPC_SPARE_CHILD=1", "GOMAXPROCS="+set)
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, want, string(out), "GOMAXPROCS=%s", set)
	}
}

// TestNobodyWaitsForSpareThreads, which come and go between two collections of garbage:
// whoever asks holds up all sweeps.
func TestNobodyWaitsForSpareThreads(t *testing.T) {
	var own threads
	own.changing = true // by a goroutine that waits
	own.add()
	own.remove()
	own.add()
	require.Equal(t, 1, own.users)
	require.Equal(t, runtime.GOMAXPROCS(0), own.without())
}

// TestNoServerChangesTheThreadsUnasked: they are those of the program that embeds it.
func TestNoServerChangesTheThreadsUnasked(t *testing.T) {
	require.Nil(t, (&Server{}).spareFunc())
}

// TestSpareThreadsAreForCrowds: they come with one, stay for a while, and go at the
// latest with the server, or when nobody is busy.
func TestSpareThreadsAreForCrowds(t *testing.T) {
	var calls []bool
	queue, now := false, time.Now()
	w := &sweeper{}
	w.init(func() observations { return observations{active: 3} }, func() bool { return queue }, 2,
		func(want bool) { calls = append(calls, want) })
	w.begin()
	sweep := func(after time.Duration, queued bool) []bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		now, queue = now.Add(after), queued
		w.sweepLocked(now, false)
		return calls
	}
	require.Empty(t, sweep(0, false))
	require.Equal(t, []bool{true}, sweep(0, true))
	require.Equal(t, []bool{true}, sweep(time.Hour, true))
	require.Equal(t, []bool{true}, sweep(spareFor, false))
	require.False(t, w.crowded.Load())
	require.Equal(t, []bool{true, false}, sweep(1, false))
	require.Equal(t, []bool{true, false}, sweep(spareFor, false))
	require.Equal(t, []bool{true, false, true}, sweep(0, true))
	w.end()
	w.end()
	require.Equal(t, []bool{true, false, true, false}, calls)
}

// TestPlacesFollowTheProcessors: and not the threads.
func TestPlacesFollowTheProcessors(t *testing.T) {
	places := func() [3]int {
		srv := &Server{}
		srv.init()
		defer srv.Close()
		return [3]int{srv.front.places, srv.looking.places, srv.sweeper.processors}
	}
	for processors, want := range map[int][3]int{1: {1, 1, 1}, 2: {1, 1, 2}, 8: {7, 4, 8}} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			require.Equal(t, want, places())
			processThreads.add()
			require.Equal(t, want, places())
			processThreads.remove()
			require.Eventually(t, func() bool { return !changing() }, patience, time.Millisecond)
		}()
	}
}

func changing() bool {
	processThreads.mu.Lock()
	defer processThreads.mu.Unlock()
	return processThreads.changing
}
