package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/marianned/marianned/tests/bench/workload"
)

// print prints a table for each figure, in Markdown.
func (r *report) print(out io.Writer) {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d cores (%s), Linux %s, %s; medians of %d rounds, %v for each figure\n",
		r.Date.Format("2 January 2006"), m.Cores, m.Processor, m.Kernel, m.Go, r.Rounds, r.Time)
	var modules []string
	for path, version := range m.Modules {
		modules = append(modules, path+" "+version)
	}
	slices.Sort(modules)
	fmt.Fprintln(out, strings.Join(modules, ", "))

	var calls, idle []*workload.Workload
	for _, w := range r.options.workloads {
		if w.Kind == workload.Idle {
			idle = append(idle, w)
		} else {
			calls = append(calls, w)
		}
	}
	r.table(out, "calls/s, ratio to the reference", calls, func(s sample) string { return fmt.Sprintf("%.2f", s.Ratio) })
	r.table(out, "calls/s", calls, func(s sample) string { return formatCount(s.PerSecond) })
	r.table(out, "latency, p50", calls, func(s sample) string { return formatDuration(s.P50) })
	r.table(out, "latency, p99", calls, func(s sample) string { return formatDuration(s.P99) })
	r.table(out, "processor time of the server for each call", calls, func(s sample) string { return formatDuration(s.CPU) })
	r.table(out, "memory of the server for each idle connection", idle, func(s sample) string { return formatKiB(s.IdleBytes) })
	r.printMissing(out)
}

func (r *report) table(out io.Writer, title string, columns []*workload.Workload, cell func(sample) string) {
	if len(columns) == 0 {
		return
	}
	rows := [][]string{{title}}
	for _, w := range columns {
		rows[0] = append(rows[0], w.Title)
	}
	for _, s := range r.options.servers {
		row := []string{s.Name}
		for _, w := range columns {
			text := "–"
			if m, ok := r.median(w.Name, s.Name); ok {
				text = cell(m)
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(out)
	printAligned(out, rows)
}

// printAligned prints rows, the first of which is the head: its first column
// leans to the left, all others to the right.
func printAligned(out io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			width := widths[i]
			if i == 0 {
				width = -width
			}
			fmt.Fprintf(out, "| %*s ", width, cell)
		}
		fmt.Fprintln(out, "|")
		if n == 0 {
			for i, width := range widths {
				colon := ":"
				if i == 0 {
					colon = "-"
				}
				fmt.Fprint(out, "|-", strings.Repeat("-", width), colon)
			}
			fmt.Fprintln(out, "|")
		}
	}
}

// printMissing says why figures are missing, each reason once.
func (r *report) printMissing(out io.Writer) {
	var said []string
	for _, s := range r.Samples {
		reason := fmt.Sprintf("%s, %s: %s", s.Server, s.Workload, s.Failure)
		if s.Failure != "" && !slices.Contains(said, reason) {
			fmt.Fprintln(out, "\nNot measured:", reason)
			said = append(said, reason)
		}
	}
}

// formatCount groups the digits of a number in threes.
func formatCount(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	if v < 10 {
		digits = fmt.Sprintf("%.1f", v)
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		return whole + "." + fraction
	}
	return whole
}

// formatDuration has three digits that count.
func formatDuration(d time.Duration) string {
	value, unit := float64(d), "ns"
	for _, larger := range []string{"µs", "ms", "s"} {
		if value < 999.5 {
			break
		}
		value, unit = value/1000, larger
	}
	decimals := 0
	switch {
	case unit == "ns":
	case value < 9.995:
		decimals = 2
	case value < 99.95:
		decimals = 1
	}
	return fmt.Sprintf("%.*f %s", decimals, value, unit)
}

func formatKiB(bytes float64) string { return fmt.Sprintf("%.1f KiB", bytes/1024) }
