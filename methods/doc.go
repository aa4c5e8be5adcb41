// Package methods holds the methods that every marianned serves, whatever else
// it does: those of the protocol (rpc.ping, rpc.echo, rpc.discover) and those
// about the daemon itself (daemon.health and its kin), with the policy that
// says who may call them.
//
//	Register ─> rpc.Methods ─> rpc.Server ─ Authorize ─> handler
//	    ^                                                   │
//	  Daemon: version, start, server, configuration, Stop <─┘
//
// It knows nothing of where the socket comes from, nor of who started the
// process: what the methods report or cause goes through [Daemon].
//
// A program that serves methods of its own beside them:
//
//	registry := new(rpc.Methods)
//	registry.Handle("add", rpc.Typed(add))
//	server := &rpc.Server{Methods: registry, Authorize: authorize}
//	err := methods.Register(registry, methods.Daemon{
//		Title:   "adder",
//		Version: "1.0.0",
//		Started: time.Now(),
//		Server:  server,
//		Stop:    func(graceful bool) { … },
//	})
//
// where authorize decides about add and leaves the rest to [Authorize].
package methods
