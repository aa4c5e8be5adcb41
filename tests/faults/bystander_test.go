package faults

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// report is what the bystander says of the calls of one kind in one phase.
type report struct {
	Calls, Lost   int
	P50, P99, Max time.Duration
	First         string // reply that was not right
}

// bystander is the program of that name while it runs.
type bystander struct {
	*process
	phases io.WriteCloser
	out    *bufio.Reader
}

// startBystander returns once it is connected.
func startBystander(t *testing.T, args ...string) *bystander {
	t.Helper()
	b := &bystander{process: command(t, bystanderUID, "bystander", args...)}
	var err error
	b.phases, err = b.cmd.StdinPipe()
	require.NoError(t, err)
	out, in, err := os.Pipe() // a StdoutPipe would be closed when the program ends
	require.NoError(t, err)
	t.Cleanup(func() { _ = out.Close() })
	b.out, b.cmd.Stdout = bufio.NewReader(out), in
	b.start()
	require.NoError(t, in.Close())
	line, err := b.out.ReadString('\n')
	require.NoError(t, err, b.said())
	require.Equal(t, "connected\n", line)
	return b
}

func (b *bystander) phase(name string) {
	b.t.Helper()
	_, err := io.WriteString(b.phases, name+"\n")
	require.NoError(b.t, err, b.said())
}

// end returns the reports by phase and kind.
func (b *bystander) end() map[string]map[string]report {
	b.t.Helper()
	_ = b.phases.Close() // may have been closed already
	var reports map[string]map[string]report
	require.NoError(b.t, json.NewDecoder(b.out).Decode(&reports), b.said())
	b.wait()
	return reports
}
