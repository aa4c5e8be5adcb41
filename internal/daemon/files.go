package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/rpc"
)

// ownFiles is how many descriptors the daemon needs beside its connections: 8
// that wait for a place, and what it and its methods have open.
const ownFiles = 8 + 64

// tooFewFiles says what is wrong where the system lets the daemon have fewer open
// files than the limits let clients have connections; "" if nothing is. The
// runtime has raised the soft limit to the hard one, which a daemon can not.
func tooFewFiles(limits rpc.Limits) string {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return ""
	}
	return compareFiles(limits, files.Max)
}

func compareFiles(limits rpc.Limits, available uint64) string {
	connections := limits.WithDefaults().MaxConnections
	if needed := uint64(connections) + ownFiles; available < needed {
		return fmt.Sprintf("%d open files are allowed, expected at least %d for max_connections, which is %d: raise LimitNOFILE= of the unit, or lower max_connections",
			available, needed, connections)
	}
	return ""
}
