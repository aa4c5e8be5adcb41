// Package peerunit says in which unit of the service manager a peer runs: its
// cgroup tells (systemd names a unit's cgroup after it), and the kernel vouches
// for whose cgroup that is.
//
//	SO_PEERPIDFD (Linux 6.5) ─> /proc/PID/cgroup ─> is it still the same process? ─> units
//
// The pid of SO_PEERCRED alone is no proof: once the peer has ended, the kernel
// may give it to another process. Where that can not be ruled out, and where
// /proc does not show the peer, the units are unknown: rules that allow by unit
// let nobody in by them, and rules that deny by unit hold.
//
// Kernels before 6.5 have no SO_PEERPIDFD. There the process that has the pid
// now must have the uid of the peer: what somebody can gain by having a pid
// used again is then the unit of another process of the same user.
package peerunit
