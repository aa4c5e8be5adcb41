package faults

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	tableFile  = "README.md"
	tableBegin = "<!-- table: begin, written by make attacks -->\n"
	tableEnd   = "<!-- table: end -->\n"
	tableHead  = "| attack | measured | server's memory, MiB: before, peak, after | in the kernel | bystander, ms: p50, p99 before | during | p99 below | health p99 | calls lost | refusals |\n" +
		"|---|---|---|---|---|---|---|---|---|---|\n"
)

// writeRow puts the result into the table in README.md, in place of the last one.
func writeRow(t *testing.T, r result) {
	t.Helper()
	text, err := os.ReadFile(tableFile)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), tableBegin)
	require.True(t, found, "%s has no %q", tableFile, tableBegin)
	table, after, found := strings.Cut(rest, tableEnd)
	require.True(t, found, "%s has no %q", tableFile, tableEnd)
	rows := rowsOf(table)
	rows[r.attack.name] = r.row(time.Now())
	var b strings.Builder
	b.WriteString(before + tableBegin + "On " + machine(t) + ".\n\n" + tableHead)
	for _, a := range attacks {
		b.WriteString(rows[a.name])
	}
	b.WriteString(tableEnd + after)
	require.NoError(t, os.WriteFile(tableFile, []byte(b.String()), 0o644))
}

var rowName = regexp.MustCompile(`^\| \*\*([a-z-]+)\*\*`)

// rowsOf returns the rows of the table by the names of their attacks.
func rowsOf(table string) map[string]string {
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		if m := rowName.FindStringSubmatch(line); m != nil {
			rows[m[1]] = line
		}
	}
	return rows
}

func (r result) row(now time.Time) string {
	before, during := r.calls("before"), r.calls("attack")
	limit := millis(issueBounds.latency)
	if r.load.saturated() && rawFactor*r.raw > issueBounds.latency {
		limit = fmt.Sprintf("%s = %d × %s", millis(rawFactor*r.raw), rawFactor, millis(r.raw))
	}
	p99 := millis(during.P99)
	if r.late(issueBounds) {
		p99 = "**" + p99 + "**"
	}
	lost, _ := r.lost()
	refused := reasons(r.refusals)
	if refused == "" {
		refused = "none"
	}
	return fmt.Sprintf("| **%s**: %s | %s | %d, %d, %d | %d | %s, %s | %s, %s | %s | %s | %d | %s |\n",
		r.attack.name, r.attack.what, now.UTC().Format(time.DateOnly),
		r.start.resident/mib, r.end.peak/mib, r.end.resident/mib, r.seen.unread/mib,
		millis(before.P50), millis(before.P99), millis(during.P50), p99, limit,
		millis(r.health("attack").P99), lost, refused)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }

// machine says on what is measured.
func machine(t *testing.T) string {
	t.Helper()
	var info unix.Sysinfo_t
	require.NoError(t, unix.Sysinfo(&info))
	var name unix.Utsname
	require.NoError(t, unix.Uname(&name))
	kernel := regexp.MustCompile(`^\d+\.\d+`).FindString(unix.ByteSliceToString(name.Release[:]))
	gib := math.Round(float64(info.Totalram) * float64(info.Unit) / (1 << 30))
	return fmt.Sprintf("%d processors, %.0f GiB, Linux %s, %s", runtime.NumCPU(), gib, kernel, runtime.Version())
}

func TestTheTableHasEachAttack(t *testing.T) {
	text, err := os.ReadFile(tableFile)
	require.NoError(t, err)
	rows := rowsOf(string(text))
	for _, a := range attacks {
		require.Contains(t, rows[a.name], a.what, "the table is not of these attacks: make attacks")
	}
	require.Len(t, rows, len(attacks))
}
