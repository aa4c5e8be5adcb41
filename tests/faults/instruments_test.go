package faults

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A measurement that cannot fail proves nothing: these tests show that each thing
// that the suite looks at is seen when it is wrong.

func TestAResultBeyondOneBoundFailsByThatBound(t *testing.T) {
	good := func() result {
		fine := map[string]report{"calls": {Calls: 100, P99: 19 * time.Millisecond}, "health": {Calls: 10}}
		return result{
			happened: true, start: memory{resident: 10 * mib}, end: memory{resident: 10*mib + mib/2, peak: 399 * mib},
			seen:      seen{service: 511 * mib},
			bystander: map[string]map[string]report{"before": fine, "attack": fine},
			load:      load{share: 0.5},
		}
	}
	slow := func(r *result, p99, raw time.Duration, share float64) {
		r.bystander["attack"] = map[string]report{"calls": {Calls: 100, P99: p99}}
		r.raw, r.load.share = raw, share
	}
	for _, test := range []struct {
		name   string
		change func(*result)
		want   string // "" for a good result
	}{
		{"all is well", func(*result) {}, ""},
		{"no attack", func(r *result) { r.happened = false }, "did not take place"},
		{"the server has gone", func(r *result) { r.seen.err = errors.New("EOF") }, "the server: EOF"},
		{"memory at its peak", func(r *result) { r.end.peak = 401 * mib }, "401 MiB"},
		{"memory with the kernel's", func(r *result) { r.seen.service = 513 * mib }, "513 MiB"},
		{"memory in the end", func(r *result) { r.end.resident = 11*mib + mib/2 }, "11.5 MiB"},
		{"a call lost", func(r *result) { r.bystander["before"] = map[string]report{"health": {Lost: 1}} }, "1 calls"},
		{"a bystander that did nothing", func(r *result) { r.bystander = nil }, "did not call"},
		{"slow", func(r *result) { slow(r, 21*time.Millisecond, 0, 0.5) }, "p99 is 21ms"},
		{"slow, for which the machine is no excuse", func(r *result) { slow(r, 21*time.Millisecond, 10*time.Millisecond, 0.5) }, "p99 is 21ms"},
		{"slow, as the machine is", func(r *result) { slow(r, 49*time.Millisecond, 10*time.Millisecond, 0.95) }, ""},
		{"slower than the machine is", func(r *result) { slow(r, 51*time.Millisecond, 10*time.Millisecond, 0.95) }, "p99 is 51ms"},
		{"something left", func(r *result) { r.left = "a slot" }, "a slot"},
		{"a log that fills", func(r *result) { r.log = 101 }, "101 lines"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := good()
			test.change(&r)
			failures := r.failures(issueBounds)
			if test.want == "" {
				require.Empty(t, failures)
				return
			}
			require.Len(t, failures, 1)
			require.Contains(t, failures[0], test.want)
		})
	}
}

func TestTheBystanderNoticesEachCallThatIsNotAnsweredOnceAndRight(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(filepath.Dir(socketPath(t)), "raw")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	require.NoError(t, l.(*net.UnixListener).SetDeadline(time.Now().Add(patience)))
	allowEverybody(t, path)
	b := startBystander(t, "-raw", path)
	nc, err := l.Accept()
	require.NoError(t, err)
	defer func() { _ = nc.Close() }()

	b.phase("attack")
	lines := bufio.NewReader(nc)
	phaseBegun := 20 // calls, after which the first of the phase must have come
	for i := range phaseBegun + 10 {
		line, err := lines.ReadBytes('\n')
		require.NoError(t, err)
		switch i {
		case phaseBegun: // lost
			line = nil
		case phaseBegun + 1: // twice
			line = append(line, line...)
		case phaseBegun + 2: // changed
			line = bytes.Replace(line, []byte("looking"), []byte("watching"), 1)
		}
		_, err = nc.Write(line)
		require.NoError(t, err)
	}
	_ = b.phases.Close()
	for { // what it sent meanwhile
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		_, err = nc.Write(line)
		require.NoError(t, err)
	}
	require.NoError(t, nc.Close())
	calls := b.end()["attack"]["calls"]
	require.Equal(t, 3, calls.Lost)
	require.Contains(t, calls.First, "watching")
	require.Greater(t, calls.Calls, 3)
}

func TestTheBoundOfTheServiceIsThatOfTheUnit(t *testing.T) {
	require.Equal(t, unitSetting(t, "MemoryMax"), fmt.Sprintf("%dM", issueBounds.service/mib))
}

func TestBurnersUseTheProcessorsThatTheyAreTold(t *testing.T) {
	needsRoot(t)
	used := 0.0
	for range 10 { // it uses less where others want them, too
		p := command(t, attackerUID, "attacker", "-cores", "0.5", "-for", "1s", "", "burn").start()
		p.wait()
		used = p.cores()
		require.Less(t, used, 0.75)
		if used > 0.25 {
			return
		}
	}
	require.Greater(t, used, 0.25)
}
