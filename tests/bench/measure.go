package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/marianned/marianned/tests/bench/load"
	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

const (
	// warmUp is not counted: the server grows its heap and its stacks.
	warmUp = 200 * time.Millisecond
	// settle is how long idle connections are left alone before memory is read.
	settle = 3 * time.Second
)

// measure runs all rounds. In each, the servers of a workload follow each other
// in random order: what the machine does besides is as likely to meet one as
// another, and the reference of the round had the same machine.
func measure(ctx context.Context, o *options, progress io.Writer) *report {
	r := newReport(o)
	for round := range o.rounds {
		for _, w := range o.workloads {
			for _, i := range rand.Perm(len(o.servers)) {
				s := o.servers[i]
				if ctx.Err() != nil {
					r.Interrupted = true
					return r
				}
				taken := sample{Round: round, Workload: w.Name, Server: s.Name}
				if err := taken.take(s, w, o.time); err != nil {
					taken.Failure = err.Error()
				}
				r.Samples = append(r.Samples, taken)
				fmt.Fprintf(progress, "round %d of %d  %s\n", round+1, o.rounds, taken)
			}
			r.relate(round, w.Name)
		}
	}
	return r
}

// sample is what one run measured.
type sample struct {
	Round     int     `json:"round"`
	Workload  string  `json:"workload"`
	Server    string  `json:"server"`
	Failure   string  `json:"failure,omitempty"` // then nothing was measured
	PerSecond float64 `json:"per_second,omitempty"`
	// Ratio is PerSecond by that of the reference in the same round.
	Ratio float64       `json:"ratio,omitempty"`
	P50   time.Duration `json:"p50_ns,omitempty"`
	P99   time.Duration `json:"p99_ns,omitempty"`
	// CPU is the processor time of the server for each call.
	CPU time.Duration `json:"cpu_ns,omitempty"`
	// IdleBytes is the memory of the server for each idle connection.
	IdleBytes float64 `json:"idle_bytes,omitempty"`
}

func (s sample) String() string {
	head := fmt.Sprintf("%-15s %-16s", s.Workload, s.Server)
	switch {
	case s.Failure != "":
		return head + " FAILED: " + s.Failure
	case s.IdleBytes != 0:
		return fmt.Sprintf("%s %s for each connection", head, formatKiB(s.IdleBytes))
	default:
		return fmt.Sprintf("%s %10s/s  p50 %8s  p99 %8s  cpu %8s", head, formatCount(s.PerSecond),
			formatDuration(s.P50), formatDuration(s.P99), formatDuration(s.CPU))
	}
}

// take measures one server with one workload.
func (s *sample) take(server *servers.Server, w *workload.Workload, d time.Duration) error {
	c, err := start(server, w)
	if err != nil {
		return err
	}
	target := load.Target{Path: c.path, Dialect: server.Dialect, Workload: w}
	if w.Kind == workload.Idle {
		s.IdleBytes, err = load.Idle(target, settle, c.memory)
	} else {
		err = s.calls(c, target, d)
	}
	return errors.Join(err, c.stop())
}

func (s *sample) calls(c *child, target load.Target, d time.Duration) error {
	var used [2]time.Duration
	var at [2]time.Time
	var errs [2]error
	read := func(i int) func() {
		return func() { used[i], errs[i] = c.cpu(); at[i] = time.Now() }
	}
	result, err := load.Run(target, warmUp, d, read(0), read(1))
	if err := errors.Join(err, errs[0], errs[1]); err != nil {
		return err
	}
	s.PerSecond = result.PerSecond
	s.P50, s.P99 = result.Latencies.Quantile(0.50), result.Latencies.Quantile(0.99)
	share := float64(used[1]-used[0]) / float64(at[1].Sub(at[0])) // of one core
	s.CPU = time.Duration(share / result.PerSecond * float64(time.Second))
	return nil
}
