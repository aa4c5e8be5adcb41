// Package daemon tries marianned as an operator and its clients meet it: the
// built binary, started bound to a path or with an inherited socket, its exit
// codes, what it leaves behind, and how it ends. What marianned has no method
// for (a slow call, a child process) is tried on the program in embedder, which
// embeds the same packages.
package daemon
