// Package activation answers two questions of a daemon's life: where its
// listening Unix socket comes from, and what it tells its service manager.
//
// The socket is inherited when the service manager opened it, else bound here,
// never both:
//
//	LISTEN_FDS is for us ── Inherit: every fd checked ──┐
//	                                                    ├─> *Socket ─> Serve ─> Close
//	it is not ─────────── Bind ─┐                       │
//	  parents trusted ─> lock held ─> stale node gone ─> bound with its mode
//
// An inherited socket belongs to the service manager, which listens on it
// again when we are gone: it is never unlinked, shut down or given another
// mode. A bound one is ours for as long as we hold the lock file beside it; its
// node is removed on Close, and only if it is still the one that we made.
//
// [Notifier] speaks sd_notify(3). Without a service manager all its methods do
// nothing, so a caller needs no second path for a start by hand.
//
// The smallest daemon that works with and without systemd:
//
//	notifier, err := activation.NewNotifier()
//	if err != nil {
//		return err
//	}
//	sockets, err := activation.Inherit()
//	if err != nil {
//		return err
//	}
//	if sockets == nil {
//		socket, err := activation.Bind(activation.BindOptions{Path: "/run/example/example.sock"})
//		if err != nil {
//			return err
//		}
//		sockets = append(sockets, socket)
//	}
//	defer sockets[0].Close()
//	if err := notifier.Ready("serving"); err != nil {
//		return err
//	}
//	return serve(sockets[0].Listener)
//
// A daemon that wants its open connections to outlive it gives them to the service
// manager with [Notifier.Store], and finds them with [InheritStored].
//
// Errors that a person has to act on match one of [ErrConfig],
// [ErrAlreadyRunning], [ErrCannotCreate] and [ErrNotPermitted]; their text says
// what was found, what was expected and what to do next. The package logs
// nothing. It needs Linux with /proc mounted.
package activation
