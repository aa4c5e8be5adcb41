// Package outside runs programs outside of the daemon, as any user, while the
// daemon itself stays unprivileged and in its sandbox.
//
//	daemon: Runner.Call ──> marianned-exec.socket ──> systemd: marianned-exec@.service
//	        (a call, and whose it is)                  Serve: who calls? rules, schema ─> program
//
// The service manager starts a service for each call. What runs in it has been
// told a method, params, and who the caller is. It trusts the daemon for the last
// alone, and so nobody but the daemon's user and root may speak to it; which
// program that is, as whom it runs, whether the caller may call it and whether the
// params fit, it reads anew from the files of the operator. So who has taken the
// daemon over can call what the operator has configured, in another's name, and
// no more.
//
// Both sides speak the protocol of package rpc: cancelling, bounds and streams are
// those of any connection.
package outside
