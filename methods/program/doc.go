// Package program runs a program for each call of a method. No shell takes part:
// arguments are made from the definition and the params, each one argument
// whatever it holds.
//
//	New: definition ─> Program
//	Call: argv, environment ─> start ─> one loop over stdin, stdout, stderr, exit ─> result
//	                                       ^
//	             end of the context ─> SIGTERM, SIGKILL to the whole group
//
// A program leads a process group of its own. Whatever ends the call ends the
// group: when the program exits, what it started goes too. What has left the
// group (setsid(2)) is looked for by its environment, which finds all that did
// not hide; only a control group, as of runner = "unit", leaves no way out.
package program
