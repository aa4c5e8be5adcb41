// Package workload says what is measured: the calls of each workload, and the
// replies that belong to them. The load generator and the reference both print
// from here.
package workload
