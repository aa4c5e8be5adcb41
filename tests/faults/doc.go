// Package faults attacks a built server from the outside, while a well-behaved
// client of another uid measures what it notices of that:
//
//	attacker   as uids 20001, 20002 ─┐
//	bystander  as uid 20003 ─────────┼─> marianned, or fixture, as uid 20000
//	the test   as root: status ──────┘
//
// For each attack the server's peak of memory, the bystander's latency and calls
// without the right answer, and the refusals by reason are measured; afterwards
// every count has to be zero again. Where an attack takes the whole machine, the
// bystander is also measured beside rawecho under the same load.
//
//	go test ./tests/faults                  a few seconds for each attack
//	make attacks                            the long form, which writes the table in README.md
package faults
