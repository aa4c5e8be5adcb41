package rpc

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSpareThreads: a process of its own, since the number is that of the process.
func TestSpareThreads(t *testing.T) {
	if os.Getenv("RPC_SPARE_CHILD") != "" {
		before := runtime.GOMAXPROCS(0)
		fmt.Println(SpareThreads()-before, SpareThreads()-before, runtime.GOMAXPROCS(0)-before)
		os.Exit(0)
	}
	for set, want := range map[string]string{"": "0 0 4\n", "3": "0 0 0\n"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSpareThreads$")
		cmd.Env = append(os.Environ(), "RPC_SPARE_CHILD=1", "GOMAXPROCS="+set)
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, want, string(out), "GOMAXPROCS=%s", set)
	}
}

// TestPlacesFollowTheProcessors: and not the threads.
func TestPlacesFollowTheProcessors(t *testing.T) {
	for processors, want := range map[int][2]int{1: {1, 1}, 2: {1, 1}, 8: {7, 4}, 0: {max(1, runtime.GOMAXPROCS(0)-1), max(1, runtime.GOMAXPROCS(0)/2)}} {
		srv := &Server{Processors: processors}
		srv.init()
		defer srv.Close()
		require.Equal(t, want, [2]int{srv.front.places, srv.looking.places})
		require.Equal(t, srv.processors(), srv.sweeper.processors)
	}
}
