// Command bench measures marianned against a reference and its peers. README.md
// beside it says how, and what the table means.
//
//	bench ─> for each round, for each workload, for each server in turns:
//	           start a server as a child (serve.go, child.go)
//	           call it (load/), and read what it used
//	         medians ─> table, JSON, check
package main
