package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

// serve is `bench serve SERVER SOCKET WORKLOAD`: it says "ready" on stdout when
// it listens, and ends when its stdin does, so that it cannot outlive whoever
// started it.
func serve(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("found %d arguments of serve, expected SERVER SOCKET WORKLOAD", len(args))
	}
	server, err := choose(servers.All(), args[0], "")
	if err != nil {
		return err
	}
	w, err := choose(workload.All(), args[2], "")
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", args[1])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return server[0].Serve(l, w[0])
}
