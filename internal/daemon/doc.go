// Package daemon puts the parts together and gives the process its life: the
// socket from activation, the server from rpc, what it serves from methods.
//
//	Inherit, else Bind ─> Serve ─> READY=1 ─┬─ SIGTERM, SIGINT, daemon.shutdown ─┐
//	                                        ├─ idle (inherited sockets only) ────┤
//	                                        └─ accept fails for good ────────────┤
//	exit <─ unlink what is ours <─ accept loops ended <─ drain <─ STOPPING=1 <───┘
//
// Meanwhile SIGHUP and daemon.reload read everything anew, and swap it whole
// (reload.go). One goroutine decides (lifecycle.go); others only serve. The whole of a
// daemon:
//
//	err := daemon.Run(ctx, daemon.Config{
//		DrainTimeout: config.DefaultDrainTimeout,
//		IdleExit:     config.DefaultIdleExit,
//		Logger:       daemon.NewLogger(os.Stderr, logrus.InfoLevel),
//		Version:      version.Get().Version,
//	})
package daemon
