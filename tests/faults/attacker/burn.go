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
	begin := time.Now()
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for ctx.Err() == nil {
				if used() >= time.Duration(cores*float64(time.Since(begin))) {
					time.Sleep(time.Millisecond)
					continue
				}
				for end := time.Now().Add(200 * time.Microsecond); time.Now().Before(end); {
				}
			}
		})
	}
	all.Wait()
}

// used returns the processor time that this process has used.
func used() time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		panic(err) // it has no reason to fail, getrusage(2)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
