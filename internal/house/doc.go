// Package house holds the rules about the module as a whole that a compiler does
// not know: which package may import which, and that main.go only wires. They
// are tests; there is nothing here to import.
//
//	main ─> internal/cli ─> internal/daemon ─┬─> methods ─> rpc
//	                                         └─> activation
//
// Imports run that way, over as many steps as they like, and never back. rpc and
// activation import nothing of this module, so that others can import them.
//
//	go test ./internal/house
package house
