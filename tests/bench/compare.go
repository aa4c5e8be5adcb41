package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// compare is `bench compare OLD NEW`.
func compare(out io.Writer, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("found %d arguments of compare, expected two files of -json, the old one first", len(args))
	}
	before, err := readReport(args[0])
	if err != nil {
		return err
	}
	after, err := readReport(args[1])
	if err != nil {
		return err
	}
	rows := [][]string{{"workload, server", "ratio, old", "new", "change", "processor time, old", "new", "change"}}
	var idle [][]string
	for _, key := range after.keys() {
		was, ok := before.median(key[0], key[1])
		is, okNow := after.median(key[0], key[1])
		title := key[0] + ", " + key[1]
		switch {
		case !ok || !okNow:
		case is.IdleBytes != 0:
			idle = append(idle, []string{title, formatKiB(was.IdleBytes), formatKiB(is.IdleBytes), change(was.IdleBytes, is.IdleBytes)})
		default:
			rows = append(rows, []string{title,
				fmt.Sprintf("%.2f", was.Ratio), fmt.Sprintf("%.2f", is.Ratio), change(was.Ratio, is.Ratio),
				formatDuration(was.CPU), formatDuration(is.CPU), change(float64(was.CPU), float64(is.CPU))})
		}
	}
	if len(rows) > 1 {
		printAligned(out, rows)
	}
	if len(idle) > 0 {
		fmt.Fprintln(out)
		printAligned(out, append([][]string{{"workload, server", "idle connection, old", "new", "change"}}, idle...))
	}
	return nil
}

func change(was, is float64) string { return fmt.Sprintf("%+.0f %%", (is/was-1)*100) }

func readReport(path string) (*report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w: expected a file of bench -json", path, err)
	}
	return r, nil
}

// keys are the pairs of workload and server, in the order of the first round.
func (r *report) keys() [][2]string {
	var keys [][2]string
	for _, s := range r.Samples {
		if key := [2]string{s.Workload, s.Server}; !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}
