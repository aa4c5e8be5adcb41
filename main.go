// Command marianned is a local RPC daemon for Linux, and its client: JSON-RPC
// 2.0 on a Unix socket, with everything that a client can consume bounded.
//
//	marianned serve              run the daemon
//	marianned call rpc.ping      call a method of it
//	marianned --help             the rest
package main

import (
	"os"

	"github.com/marianned/marianned/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
