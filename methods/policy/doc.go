// Package policy decides who may call a method, by rules that an operator wrote:
//
//	allow = ["group:adm", "user:backup", "uid:1000-1999", "unit:backup.service"]
//	deny  = ["user:mallory"]
//
// What is not allowed is denied, and deny wins. The rules look at what the kernel
// recorded of the peer when it connected: its uid, its primary and supplementary
// groups, and the unit that it runs in. Names of users and groups are looked up
// when the rules are read, never while a call waits.
//
//	New: definition.Rules ─ Names ─> Policy ─ Decide(peer) ─> Decision: yes or no, and which line says so
package policy
