package main

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// burn uses cores processors and does nothing with them, on as many threads as an
// attacker or a server has. What it is kept from using it makes up for, as those
// would: on a machine without a free processor it always wants to run.
func burn(ctx context.Context, cores float64) {
	threads := runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	for range threads {
		all.Go(func() { burnThread(ctx, cores/float64(threads)) })
	}
	all.Wait()
}

func burnThread(ctx context.Context, share float64) {
	runtime.LockOSThread() // its time is counted
	begin, used := time.Now(), threadTime()
	for ctx.Err() == nil {
		want := time.Duration(share * float64(time.Since(begin)))
		if threadTime()-used >= want {
			time.Sleep(time.Millisecond)
			continue
		}
		for end := time.Now().Add(100 * time.Microsecond); time.Now().Before(end); {
		}
	}
}

// threadTime returns the processor time that this thread has used.
func threadTime() time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &use); err != nil {
		panic(err) // it has no reason to fail, getrusage(2)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
