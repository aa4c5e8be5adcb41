// Command attacker does one thing to a socket that a server has to stand, on many
// connections at once, until SIGTERM or its time is over:
//
//	attacker [-connections N] [-for DURATION] [-seed N] SOCKET ATTACK
//
// A connection that the server ends is made again. The attacker bounds its own
// memory: it is the server that is to be tried. See attacks and others for what
// there is, and besides:
//
//	killed   starts attackers that do all of it in turns, and kills them
//	burn     needs no server: it uses as many processors as -cores says
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// memory is what the attacker may take, in bytes; the collector works to stay
// well below.
const memory = 512 << 20

func main() {
	a := new(attacker)
	flag.IntVar(&a.connections, "connections", 1, "connections at once")
	duration := flag.Duration("for", 3*time.Second, "how long")
	flag.Uint64Var(&a.seed, "seed", 1, "what decides about all that is random")
	cores := flag.Float64("cores", 1, "burn: how many processors to use")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	a.ctx, a.path = ctx, flag.Arg(0)
	if err := run(a, flag.Arg(1), *cores); err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
}

func run(a *attacker, name string, cores float64) error {
	debug.SetMemoryLimit(memory / 2)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory}); err != nil {
		return fmt.Errorf("RLIMIT_DATA: %w", err)
	}
	switch name {
	case "burn":
		burn(a.ctx, cores)
		return nil
	case "killed":
		return killed(a)
	}
	do := attacks[name]
	if do == nil {
		do = others[name]
	}
	if do == nil {
		return fmt.Errorf("found no attack %q, expected one of: %s", name, strings.Join(slices.Sorted(maps.Keys(attacks)), ", "))
	}
	a.run(do)
	return nil
}
