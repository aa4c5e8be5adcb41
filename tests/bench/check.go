package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

// The targets, as ratios of calls/s.
var leastRatio = []struct {
	workload string
	ratio    float64 // of marianned to the reference
}{
	{"serial", 0.80},
	{"pipelined", 0.80},
	{"callers-50", 0.90},
	{"callers-500", 0.80},
	{"connect", 0.85},
	{"1mib", 0.70},
	{"15mib", 0.60},
}

const (
	mostIdleBytes   = 6 << 10
	leastTypedSmall = 0.75 // of marianned, for messages up to smallBytes
	leastTyped1MiB  = 3    // of the best peer that reads JSON
	smallBytes      = 1 << 10

	rawServer   = "marianned"
	typedServer = "marianned-typed"
)

// verdicts collects what was compared.
type verdicts struct {
	met    int
	missed []string
	absent []string // no figure
}

func (v *verdicts) add(ok bool, format string, args ...any) {
	if ok {
		v.met++
		return
	}
	v.missed = append(v.missed, fmt.Sprintf(format, args...))
}

// check compares the medians with the targets, says which are missed, and fails
// if one is.
func (r *report) check(out io.Writer) error {
	v := new(verdicts)
	r.checkReference(v)
	r.checkTyped(v)
	r.checkPeers(v)
	fmt.Fprintf(out, "\nTargets: %d met, %d missed, %d not measured\n", v.met, len(v.missed), len(v.absent))
	for _, what := range v.missed {
		fmt.Fprintln(out, "missed:", what)
	}
	for _, what := range v.absent {
		fmt.Fprintln(out, "not measured:", what)
	}
	if len(v.missed) > 0 {
		return errors.New("targets are missed")
	}
	return nil
}

// figures returns the medians of several servers; where one is missing it says
// so and returns false.
func (r *report) figures(v *verdicts, workload string, servers ...string) ([]sample, bool) {
	var taken []sample
	for _, server := range servers {
		m, ok := r.median(workload, server)
		if !ok {
			v.absent = append(v.absent, workload+" of "+server)
			return nil, false
		}
		taken = append(taken, m)
	}
	return taken, true
}

func (r *report) checkReference(v *verdicts) {
	for _, target := range leastRatio {
		if m, ok := r.figures(v, target.workload, rawServer, servers.Reference); ok {
			v.add(m[0].Ratio >= target.ratio, "%s: %.2f of the reference, expected %.2f", target.workload, m[0].Ratio, target.ratio)
		}
	}
	for _, w := range workload.All() {
		if w.Kind != workload.Idle {
			continue
		}
		if m, ok := r.figures(v, w.Name, rawServer); ok {
			v.add(m[0].IdleBytes <= mostIdleBytes, "%s: %s for each connection, expected at most %s", w.Name,
				formatKiB(m[0].IdleBytes), formatKiB(mostIdleBytes))
		}
	}
}

func (r *report) checkTyped(v *verdicts) {
	for _, w := range workload.All() {
		if w.Kind == workload.Idle || w.MessageBytes() > smallBytes {
			continue
		}
		if m, ok := r.figures(v, w.Name, typedServer, rawServer); ok {
			share := m[0].Ratio / m[1].Ratio
			v.add(share >= leastTypedSmall, "%s: typed %.2f of raw, expected %.2f", w.Name, share, leastTypedSmall)
		}
	}
	for _, peer := range peers() {
		if peer.Dialect == servers.GRPC {
			continue // reads no JSON
		}
		if m, ok := r.figures(v, "1mib", typedServer, peer.Name); ok {
			times := m[0].PerSecond / m[1].PerSecond
			v.add(times >= leastTyped1MiB, "1mib: typed %.2f times %s, expected %d", times, peer.Name, leastTyped1MiB)
		}
	}
}

// checkPeers wants marianned ahead of every peer in every column.
func (r *report) checkPeers(v *verdicts) {
	for _, w := range workload.All() {
		for _, peer := range peers() {
			m, ok := r.figures(v, w.Name, rawServer, peer.Name)
			if !ok {
				continue
			}
			ours, theirs := m[0], m[1]
			against := func(column string, ok bool, ours, theirs string) {
				v.add(ok, "%s, %s: %s, %s has %s", w.Name, column, ours, peer.Name, theirs)
			}
			if w.Kind == workload.Idle {
				against("memory", ours.IdleBytes < theirs.IdleBytes, formatKiB(ours.IdleBytes), formatKiB(theirs.IdleBytes))
				continue
			}
			against("calls/s", ours.PerSecond > theirs.PerSecond, formatCount(ours.PerSecond), formatCount(theirs.PerSecond))
			for _, column := range []struct {
				name         string
				ours, theirs time.Duration
			}{
				{"p50", ours.P50, theirs.P50},
				{"p99", ours.P99, theirs.P99},
				{"processor time", ours.CPU, theirs.CPU},
			} {
				against(column.name, column.ours < column.theirs, formatDuration(column.ours), formatDuration(column.theirs))
			}
		}
	}
}

func peers() []*servers.Server {
	var peers []*servers.Server
	for _, s := range servers.All() {
		if s.Peer {
			peers = append(peers, s)
		}
	}
	return peers
}
