// Package cli is the command line of marianned: it reads arguments, asks a
// daemon over its socket, and shows the answer to a person or to a script.
//
//	arguments ─> cobra ─┬─ serve, units, demo, version
//	                    └─ call, methods, describe, status
//	                         params ─> socket ─> rpc.Client ─> printed answer
//	                                                 error ─> stderr, exit code
//
// Results go to stdout, everything else to stderr. What a daemon sends is shown
// with its control characters escaped, so that it cannot write to a terminal in
// its own name. Whatever fails says what was found, what was expected and what
// to do next, and ends in one of the exit codes that [ExitCode] lists.
//
// The whole of main:
//
//	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
package cli
