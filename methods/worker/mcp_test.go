package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// mcp defines a method for each tool, written "tool:result".
func mcp(t testing.TB, b *bench, more string, tools ...string) map[string]*method {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "[workers.server]\ncommand = [%q]\nprotocol = \"mcp\"\n%s\n", program(t, "mcp"), more)
	for _, tool := range tools {
		name, result, _ := strings.Cut(tool, ":")
		fmt.Fprintf(&text, "[methods.%q]\nworker = \"server\"\ntool = %q\nresult = %q\n", tool, name, result)
	}
	return b.methods(text.String())
}

func TestAnMCPServerIsAWorker(t *testing.T) {
	b := newBench(t)
	m := mcp(t, b, "", "weather", "weather:text", "weather:json", "text:text", "text:json", "broken", "unknown", "forecast:text")
	require.JSONEq(t, `{"content":[{"type":"text","text":"{\"city\":\"Ulm\"}"}],"structuredContent":{"city":"Ulm","temperature":22}}`,
		m["weather"].ask(`{"city":"Ulm"}`))
	require.Equal(t, `"{\"city\":\"Ulm\"}"`, m["weather:text"].ask(`{"city":"Ulm"}`))
	require.JSONEq(t, `{"city":"Ulm","temperature":22}`, m["weather:json"].ask(`{"city":"Ulm"}`))
	require.Equal(t, `"one\ntwo"`, m["text:text"].ask("{}"))
	require.Equal(t, rpc.ExecutedYes, dataOf(t, m["text:json"].fail("{}")).Executed, "it holds no JSON")

	e := m["broken"].fail("{}")
	require.Equal(t, CodeToolFailed, e.Code)
	require.Equal(t, `"broken" failed: the station does not answer`, e.Message)
	require.Equal(t, rpc.ExecutedYes, dataOf(t, e).Executed)
	require.Equal(t, rpc.CodeInvalidParams, m["unknown"].fail("{}").Code)

	var events []event
	result, err := m["forecast:text"].call(t.Context(), "{}", func(e event) { events = append(events, e) })
	require.NoError(t, err)
	require.Equal(t, `"sunny"`, result)
	require.Len(t, events, 3)
	require.Equal(t, "notifications/progress", events[0].name)
	require.Regexp(t, `^{"progress":1,"progressToken":\d+,"total":3}$`, events[0].params)
	require.NotContains(t, b.log.String(), "protocol violation")
}

func TestAnMCPServerMaySayNothingOfACancelledCall(t *testing.T) {
	b := newBench(t)
	m := mcp(t, b, `stall_timeout = "200ms"`, "slow", "pid:text")
	pid := m["pid:text"].ask("{}")
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := m["slow"].call(ctx, "{}", nil)
		answered <- err
	}()
	pool := m["slow"].worker.pool
	require.Eventually(t, func() bool { return pool.load() == 1 }, longWait, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-answered, context.Canceled)
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "slow was cancelled") }, longWait, time.Millisecond)
	require.Eventually(t, func() bool { return !pool.doubts() }, longWait, time.Millisecond, "it has answered a ping")
	require.Equal(t, pid, m["pid:text"].ask("{}"))
}

// doubts reports whether a process is suspected to hang.
func (p *pool) doubts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.all {
		if at.suspect != nil {
			return true
		}
	}
	return false
}

func TestAServerThatRefusesToBeInitializedIsNotCalled(t *testing.T) {
	b := newBench(t)
	m := b.methods(fmt.Sprintf(`
[workers.server]
command = [%q]
initialize = {method = "no.such.method", params = {answer = 42}}
[methods.echo]
worker = "server"
`, program(t, "plain")))["echo"]
	data := dataOf(t, m.fail("{}"))
	require.Equal(t, rpc.ExecutedNo, data.Executed)
	require.Equal(t, "unavailable", data.Reason)
	require.Contains(t, b.log.String(), "refused no.such.method")
}

func TestAServerIsCalledAfterItIsInitialized(t *testing.T) {
	b := newBench(t)
	m := b.methods(fmt.Sprintf(`
[workers.server]
command = [%q]
initialize = {method = "echo", params = {text = "hello"}, then = "notice"}
[methods.echo]
worker = "server"
`, program(t, "plain")))["echo"]
	require.Equal(t, `"x"`, m.ask(`{"text":"x"}`))
}

func TestAServerThatIsNotReadyInTimeIsEnded(t *testing.T) {
	b := newBench(t)
	m := b.methods(fmt.Sprintf(`
[workers.server]
command = [%q]
start_timeout = "50ms"
initialize = {method = "sleep-all"}
[methods.echo]
worker = "server"
`, program(t, "plain")))["echo"]
	require.Equal(t, rpc.ExecutedNo, dataOf(t, m.fail("{}")).Executed)
	require.Contains(t, b.log.String(), "start_timeout")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := m.call(ctx, "{}", nil)
	var wire *rpc.Error
	require.True(t, errors.Is(err, context.DeadlineExceeded) || errors.As(err, &wire), "%v", err)
}
