package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/marianned/marianned/tests/bench/load"
	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

func measure(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	rounds := flags.Int("rounds", 3, "how often everything is measured")
	each := flags.Duration("time", 1500*time.Millisecond, "how long each server is measured with each workload")
	serverNames := flags.String("servers", "", "")
	workloadNames := flags.String("workloads", "", "")
	_ = flags.Parse(args)
	for _, w := range workload.All() {
		if w.Kind == workload.Idle || *workloadNames != "" && !strings.Contains(","+*workloadNames+",", ","+w.Name+",") {
			continue
		}
		for range *rounds {
			ref := 0.0
			for _, s := range servers.All() {
				if *serverNames != "" && s.Name != servers.Reference && !strings.Contains(","+*serverNames+",", ","+s.Name+",") {
					continue
				}
				c, err := start(s, w)
				if err != nil {
					return err
				}
				var c0, c1 time.Duration
				var t0, t1 time.Time
				res, err := load.Run(load.Target{Path: c.path, Dialect: s.Dialect, Workload: w}, 150*time.Millisecond, *each,
					func() { c0, _ = c.cpu(); t0 = time.Now() }, func() { c1, _ = c.cpu(); t1 = time.Now() })
				if e := c.stop(); e != nil {
					err = e
				}
				if err != nil {
					return fmt.Errorf("%s %s: %w", s.Name, w.Name, err)
				}
				if s.Name == servers.Reference {
					ref = res.PerSecond
				}
				fmt.Printf("%-14s %-18s %9.0f/s %5.2f  p50 %8v p99 %8v  cpu %8v\n", w.Name, s.Name, res.PerSecond, res.PerSecond/ref,
					res.Latencies.Quantile(.5), res.Latencies.Quantile(.99), time.Duration(float64(c1-c0)/t1.Sub(t0).Seconds()/res.PerSecond))
			}
		}
	}
	return nil
}
