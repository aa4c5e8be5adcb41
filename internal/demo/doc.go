// Package demo shows the activation of a real daemon by its socket, without a
// service manager: this process plays the manager's part in a temporary folder.
//
//	listen ─> a client connects ─> start the daemon with the socket as fd 3
//	   ^        ─> READY=1 ─> reply ─> idle ─> STOPPING=1 ─> exit 0
//	   └──────────────────────────────────────────────────────┘ once more
//
// The daemon is the real program, the client is the real client, and a line is
// printed only for what was observed: the backlog of the socket, datagrams
// whose sender the kernel vouches for, replies, exit codes.
//
// The program must have a command that ends in [Activate], here "activate":
//
//	err := demo.Run(ctx, demo.Options{
//		Out:      os.Stdout,
//		Command:  []string{self, "activate", self, "serve", "--idle-exit=5s"},
//		IdleExit: 5 * time.Second,
//	})
package demo
