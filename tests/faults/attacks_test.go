package faults

import (
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	longForm  = flag.Bool("long", false, "attack for as long as the table in README.md is measured, and write it")
	seed      = flag.Uint64("seed", 0, "of the attackers; 0 for another each time")
	moreFlags = flag.String("server-flags", "", "further flags of the server: with looser limits the suite must fail")
)

// form is how long things are done.
type form struct {
	before, attack time.Duration
	rest           time.Duration // after the attack, at the least
	bounds         bounds
}

var (
	short = form{before: time.Second, attack: 3 * time.Second, bounds: shortBounds}
	long  = form{before: 5 * time.Second, attack: 40 * time.Second, rest: time.Minute, bounds: issueBounds}
)

func chosenForm() form {
	if *longForm {
		return long
	}
	return short
}

// attack is one row of the table.
type attack struct {
	name, what string
	program    string // "" for marianned
	shell      string // before the server starts, in its process
	uids       int    // of attackers
	each       int    // connections of one uid
	// happened says what of the attack the server must have felt. Nothing is
	// proved by standing an attack that did not take place.
	happened func(high, total status) bool
}

// crowd is more connections than one uid may have; two of them fill the server.
const crowd = 260

var attacks = []attack{
	{name: "half-sent", what: "15 MiB of a message without its end, on every connection that two uids can get", uids: 2, each: crowd,
		happened: full},
	{name: "drip", what: "messages that come byte by byte, on every connection", uids: 2, each: crowd,
		happened: full},
	{name: "never-read", what: "calls with 1 MiB replies that nobody reads, on every connection", uids: 2, each: crowd,
		happened: func(high, total status) bool { return full(high, total) && total.TotalRequests > 500 }},
	{name: "flood", what: "small calls, 64 in flight on every connection, as fast as they are answered", uids: 2, each: crowd,
		happened: func(high, total status) bool { return full(high, total) && total.TotalRequests > 10_000 }},
	{name: "batches", what: "batches of 100 calls, every other one of 15 MiB, on every connection", uids: 2, each: crowd,
		happened: func(high, total status) bool { return full(high, total) && total.TotalRequests > 1000 }},
	{name: "junk", what: "deep nesting, invalid UTF-8, ids and names of 1 MiB, endless lines, on every connection", uids: 2, each: crowd,
		happened: full},
	{name: "connect", what: "connections made and closed as fast as possible, by 100 at once", uids: 2, each: 50,
		happened: func(_, total status) bool { return total.TotalConnections > 1000 }},
	{name: "exhaust", what: "connections that come and go, more than the server has file descriptors for", uids: 2, each: crowd,
		shell:    "ulimit -n 64",
		happened: func(high, _ status) bool { return high.Connections > 32 && high.Connections < 64 }},
	{name: "sleepers", what: "calls that take 10 to 50 ms, 64 on each of 50 connections", program: "fixture", uids: 2, each: 25,
		happened: func(high, _ status) bool { return high.Running == 50 && high.Queued > 1000 }},
	{name: "subscribers", what: "streams of 10 MB/s each whose events nobody reads", program: "fixture", uids: 2, each: 25,
		happened: func(high, total status) bool { return high.Streams == 50 && total.Refusals["stream_queue"] > 0 }},
	{name: "cancels", what: "calls together with three cancels each, as fast as they are answered", program: "fixture", uids: 2, each: 25,
		happened: func(_, total status) bool { return total.Refusals["cancelled"] > 1000 }},
	{name: "killed", what: "clients that do all of this and are killed at any moment, 100 connections each", program: "fixture", uids: 2, each: 50,
		happened: func(_, total status) bool { return total.TotalConnections > 200 }},
}

// full is what the attackers of a crowd reach: all connections, and root's.
func full(high, total status) bool {
	return high.Connections >= 500 && total.Refusals["max_connections_per_uid"] > 0
}

func TestNoAttackHurtsOthers(t *testing.T) {
	needsRoot(t)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			f := chosenForm()
			r := a.measure(t, f)
			t.Log(r)
			failures := r.failures(f.bounds)
			if *longForm && (len(failures) == 0 || len(failures) == 1 && r.late(f.bounds)) {
				writeRow(t, r) // which says so if the bystander waited too long
			}
			require.Empty(t, failures)
		})
	}
}
