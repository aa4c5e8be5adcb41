package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/marianned/marianned/tests/bench/servers"
)

// report is all that was measured; it is the file of -json.
type report struct {
	Date        time.Time     `json:"date"`
	Machine     machine       `json:"machine"`
	Rounds      int           `json:"rounds"`
	Time        time.Duration `json:"time_ns"`
	Interrupted bool          `json:"interrupted,omitempty"`
	Samples     []sample      `json:"samples"`

	options *options
}

func newReport(o *options) *report {
	return &report{Date: time.Now(), Machine: thisMachine(), Rounds: o.rounds, Time: o.time, options: o}
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// relate fills in the ratios of one workload of one round.
func (r *report) relate(round int, workload string) {
	var reference float64
	for _, s := range r.Samples {
		if s.Round == round && s.Workload == workload && s.Server == servers.Reference {
			reference = s.PerSecond
		}
	}
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.Round == round && s.Workload == workload && reference > 0 {
			s.Ratio = s.PerSecond / reference
		}
	}
}

// failed says what went wrong, if anything did.
func (r *report) failed() error {
	var errs []error
	for _, s := range r.Samples {
		if s.Failure != "" {
			errs = append(errs, fmt.Errorf("%s, %s, round %d: %s", s.Workload, s.Server, s.Round+1, s.Failure))
		}
	}
	if r.Interrupted {
		errs = append(errs, errors.New("interrupted"))
	}
	return errors.Join(errs...)
}

// median is the median of each figure over the rounds; false if there is none. A
// failure in one round leaves no figure: a server that errs at times was not
// measured at all.
func (r *report) median(workload, server string) (sample, bool) {
	var taken []sample
	for _, s := range r.Samples {
		if s.Workload == workload && s.Server == server {
			taken = append(taken, s)
		}
	}
	failed := slices.ContainsFunc(taken, func(s sample) bool { return s.Failure != "" })
	if len(taken) == 0 || failed {
		return sample{Workload: workload, Server: server}, false
	}
	return sample{
		Workload: workload, Server: server,
		PerSecond: middle(taken, func(s sample) float64 { return s.PerSecond }),
		Ratio:     middle(taken, func(s sample) float64 { return s.Ratio }),
		P50:       middle(taken, func(s sample) time.Duration { return s.P50 }),
		P99:       middle(taken, func(s sample) time.Duration { return s.P99 }),
		CPU:       middle(taken, func(s sample) time.Duration { return s.CPU }),
		IdleBytes: middle(taken, func(s sample) float64 { return s.IdleBytes }),
	}, true
}

func middle[T float64 | time.Duration](taken []sample, figure func(sample) T) T {
	var figures []T
	for _, s := range taken {
		figures = append(figures, figure(s))
	}
	slices.Sort(figures)
	n := len(figures)
	return (figures[(n-1)/2] + figures[n/2]) / 2
}
