package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// result is what was measured of one attack.
type result struct {
	attack     attack
	happened   bool
	start, end memory // of the server, before the attack and after it
	seen       seen
	left       string // of the attack, afterwards; "" for nothing
	refusals   map[string]int
	log        int // lines a second
	bystander  map[string]map[string]report
	load       load
	raw        time.Duration // p99 beside rawecho under the same load; 0 if not measured
}

func (r result) calls(phase string) report  { return r.bystander[phase]["calls"] }
func (r result) health(phase string) report { return r.bystander[phase]["health"] }

// lost counts the bystander's calls that were not answered once and right.
func (r result) lost() (n int, first string) {
	for _, kinds := range r.bystander {
		for _, report := range kinds {
			n += report.Lost
			if first == "" {
				first = report.First
			}
		}
	}
	return n, first
}

func (r result) String() string {
	before, during := r.calls("before"), r.calls("attack")
	return fmt.Sprintf("memory %d -> at most %d -> %d MiB (%d -> %d anonymous); bystander p50 %s -> %s, p99 %s -> %s (raw echo %s), max %s, health p99 %s max %s; "+
		"unread %d MiB, together %d; root's slowest status %s; cpu %.2f %.2f; high %+v; refused %s; %d lines of log a second",
		r.start.resident/mib, r.end.peak/mib, r.end.resident/mib, r.start.anonymous/mib, r.end.anonymous/mib,
		before.P50, during.P50, before.P99, during.P99, r.raw, during.Max, r.health("attack").P99, r.health("attack").Max,
		r.seen.unread/mib, r.seen.service/mib, r.seen.slowest, r.load.share, r.load.cores, r.seen.high, reasons(r.refusals), r.log)
}

// bounds is what a result is held against.
type bounds struct {
	memory  int           // peak, in bytes
	service int           // peak with what is unread in the kernel: MemoryMax= of the unit
	latency time.Duration // the bystander's p99
	health  time.Duration // the slowest daemon.health while all slots are taken
	log     int           // lines a second
	raw     bool          // the bystander is measured beside rawecho even if latency holds
}

// rawFactor is how much slower than beside rawecho the bystander may be where an
// attack takes the whole machine.
const rawFactor = 5

var (
	issueBounds = bounds{memory: 400 * mib, service: 512 * mib, latency: 20 * time.Millisecond,
		health: 10 * time.Millisecond, log: 100, raw: true}

	// shortBounds hold on a machine that runs other tests at the same time.
	shortBounds = bounds{memory: 400 * mib, service: 512 * mib, latency: 3 * time.Second,
		health: 200 * time.Millisecond, log: 100}
)

// maxGrown is how much more memory than at the start the server may have in the
// end, as a share of that.
const maxGrown = 0.10

func grown(start, end memory) float64 { return float64(end.resident)/float64(start.resident) - 1 }

// compare reports whether the result needs a measurement beside rawecho.
func (b bounds) compare(r result) bool {
	return r.load.saturated() && (b.raw || r.calls("attack").P99 > b.latency)
}

// failures returns a sentence for each bound that does not hold.
func (r result) failures(b bounds) (failures []string) {
	fail := func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
	if r.seen.err != nil {
		fail("the server: %s", r.seen.err)
		return failures
	}
	if !r.happened {
		fail("the attack did not take place: at most %+v", r.seen.high)
	}
	if r.end.peak > b.memory {
		fail("the server had %d MiB of memory, expected less than %d", r.end.peak/mib, b.memory/mib)
	}
	if r.seen.service > b.service {
		fail("the server and the kernel's buffers for it had %d MiB of memory, expected less than %d", r.seen.service/mib, b.service/mib)
	}
	if n, first := r.lost(); n > 0 {
		fail("%d calls of the bystander's were not answered once and right: %.300s", n, first)
	}
	if during := r.calls("attack"); during.Calls == 0 {
		fail("the bystander did not call")
	} else if r.late(b) {
		fail("the bystander's p99 is %s, expected less than %s, or, where the machine is taken (%.0f %% of it is), than %d times the %s beside rawecho",
			during.P99, b.latency, 100*r.load.share, rawFactor, r.raw)
	}
	if r.log > b.log {
		fail("the server logged %d lines a second, expected less than %d: who fills its log?", r.log, b.log)
	}
	if r.left != "" {
		fail("something is left: %s", r.left)
	}
	if grown(r.start, r.end) > maxGrown {
		fail("the server has %.1f MiB of memory, and had %.1f at the start", float64(r.end.resident)/mib, float64(r.start.resident)/mib)
	}
	return failures
}

// late reports whether the bystander waited longer than it should.
func (r result) late(b bounds) bool {
	p99 := r.calls("attack").P99
	return p99 > b.latency && (!r.load.saturated() || p99 > rawFactor*r.raw)
}

// reasons returns the reasons with their counts, in the order of their names.
func reasons(refusals map[string]int) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(refusals)) {
		list = append(list, fmt.Sprintf("%s %d", reason, refusals[reason]))
	}
	return strings.Join(list, ", ")
}
