package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// plain defines methods of the names given that the program plain answers, with
// more lines for its worker.
func plain(t testing.TB, b *bench, more string, names ...string) map[string]*method {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "[workers.w]\ncommand = [%q]\n%s\n", program(t, "plain"), more)
	for _, name := range names {
		fmt.Fprintf(&text, "[methods.%q]\nworker = \"w\"\n", name)
	}
	return b.methods(text.String())
}

func TestACallIsAnsweredByAWorkerThatStays(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "echo", "pid")
	require.Empty(t, b.log.String(), "no worker runs before the first call")
	require.Equal(t, `"a\nb"`, m["echo"].ask(`{"text":"a\nb"}`))
	first := m["pid"].ask("{}")
	require.Equal(t, first, m["pid"].ask("{\n}"), "params of several lines are one line to the worker")
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "plain worker here") }, longWait, time.Millisecond)
}

func TestAWorkerSeesNoEnvironmentButItsOwn(t *testing.T) {
	t.Setenv("MARIANNED_TEST_SECRET", "s3cret")
	b := newBench(t)
	var text string
	require.NoError(t, json.Unmarshal([]byte(plain(t, b, `environment = {COLOUR = "red"}`, "environment")["environment"].ask("{}")), &text))
	require.NotContains(t, text, "s3cret")
	require.Contains(t, text, "COLOUR=red")
	require.Contains(t, text, "MARIANNED_WORKER=w")
}

func TestNotificationsDuringACallAreEventsOfItsStream(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "count")["count"]
	var events []event
	result, err := m.call(t.Context(), `{"count":3}`, func(e event) { events = append(events, e) })
	require.NoError(t, err)
	require.Equal(t, `"counted"`, result)
	require.Equal(t, []event{{"counted", `{"n":0}`}, {"counted", `{"n":1}`}, {"counted", `{"n":2}`}}, events,
		"in their order, all before the result, without what a stream adds itself")
	require.Equal(t, `"counted"`, m.ask(`{"count":3}`), "a call that is no stream has none")
}

func TestErrorsOfAWorkerReachTheCallerAsFarAsTheyAreForHim(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "refuse", "nonsense")
	for _, test := range []struct {
		sent, code int
		executed   rpc.Executed // "" for data as it was sent
	}{
		{-32602, -32602, ""},
		{-32000, -32000, ""},
		{17, 17, ""},
		{-32603, -32603, rpc.ExecutedUnknown},
		{-32601, -32603, rpc.ExecutedNo},
		{-32006, -32603, rpc.ExecutedNo},
		{-32001, -32001, rpc.ExecutedUnknown},
		{-32010, -32010, rpc.ExecutedUnknown},
		{-32003, -32603, rpc.ExecutedUnknown},
	} {
		e := m["refuse"].fail(fmt.Sprintf(`{"count":%d}`, test.sent))
		require.Equal(t, test.code, e.Code, "%+v", test)
		if test.executed == "" {
			require.Equal(t, rpc.RawMessage(`{"why":"it is closed"}`), e.Data)
			continue
		}
		require.Equal(t, test.executed, dataOf(t, e).Executed, "%+v", test)
		require.Equal(t, "r-1", dataOf(t, e).RequestID)
	}
	require.Equal(t, -32603, m["nonsense"].fail("{}").Code, "the caller has seen this method: that the worker has not is no news for him")
	require.Contains(t, b.log.String(), "method not found")
}

func TestACallThatWasWithAWorkerThatCrashesMayHaveBeenExecuted(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "crash", "wait", "pid", "crash-after-answer")
	before := m["pid"].ask("{}")
	waiting := make(chan error, 1)
	go func() {
		_, err := m["wait"].call(context.Background(), "{}", nil)
		waiting <- err
	}()
	require.Eventually(t, func() bool { return m["pid"].worker.pool.load() == 1 }, longWait, time.Millisecond)
	e := m["crash"].fail("{}")
	require.Equal(t, rpc.CodeInternalError, e.Code)
	require.Equal(t, rpc.ExecutedUnknown, dataOf(t, e).Executed)
	var other *rpc.Error
	require.ErrorAs(t, <-waiting, &other)
	require.Equal(t, rpc.ExecutedUnknown, dataOf(t, other).Executed)
	require.NotEqual(t, before, m["pid"].ask("{}"), "the next call has a new process")
	require.Equal(t, `"bye"`, m["crash-after-answer"].ask("{}"), "what it has said before its end counts")
}

// load returns how many calls workers may have seen and have not answered.
func (p *pool) load() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.all {
		for _, x := range at.calls {
			if x.state == written {
				n++
			}
		}
	}
	return n
}

func TestACancelIsPassedOn(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "wait", "pid")
	pid := m["pid"].ask("{}")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := rpc.Errorf(rpc.CodeCancelled, "cancelled by the test")
	answered := make(chan error, 1)
	go func() {
		_, err := m["wait"].call(ctx, "{}", nil)
		answered <- err
	}()
	pool := m["wait"].worker.pool
	require.Eventually(t, func() bool { return pool.load() == 1 }, longWait, time.Millisecond)
	cancel(cause)
	require.Equal(t, error(cause), <-answered)
	require.Equal(t, 0, pool.load())
	require.Equal(t, pid, m["pid"].ask("{}"), "a worker that heeds it stays")
}

func TestLinesThatAreNoMessagesAreLoggedAndPassedOver(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "garbage", "broken-reply", "empty-reply", "batch")
	require.Equal(t, `"after the garbage"`, m["garbage"].ask("{}"))
	require.Contains(t, b.log.String(), "is no message")
	require.NotContains(t, b.log.String(), "Listening", "it may be what a caller sent")
	for _, name := range []string{"broken-reply", "empty-reply"} {
		e := m[name].fail("{}")
		require.Equal(t, rpc.CodeInternalError, e.Code)
		require.Equal(t, rpc.ExecutedYes, dataOf(t, e).Executed)
	}
	require.Equal(t, `"in an array"`, m["batch"].ask("{}"))
}

func TestAReplyThatIsTooLargeCostsItsOwnCallAlone(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "max_message_bytes = 100000", "large", "large-backwards", "pid")
	pid := m["pid"].ask("{}")
	require.Len(t, m["large"].ask(`{"count":99000}`), 99002)
	e := m["large"].fail(`{"count":1000000}`)
	require.Equal(t, rpc.CodeReplyTooLarge, e.Code)
	require.Equal(t, rpc.ErrorData{Reason: rpc.ReasonReplyTooLarge, Scope: "method", Limit: 100000, Executed: rpc.ExecutedYes, RequestID: "r-1"}, dataOf(t, e))
	require.Equal(t, pid, m["pid"].ask("{}"))
	e = m["large-backwards"].fail(`{"count":1000000}`)
	require.Equal(t, rpc.CodeInternalError, e.Code, "nobody can tell whose reply it was")
	require.Equal(t, rpc.ExecutedUnknown, dataOf(t, e).Executed)
	require.NotEqual(t, pid, m["pid"].ask("{}"))
}

func TestAWorkersRequestIsAnswered(t *testing.T) {
	require.Equal(t, `"asked"`, plain(t, newBench(t), "", "ask")["ask"].ask("{}"))
}

func TestStderrFillsNoLog(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "flood", "crash-after-answer")
	m["flood"].ask(`{"count":100000}`)
	m["crash-after-answer"].ask("{}")
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "not_logged") }, longWait, time.Millisecond)
	require.Less(t, strings.Count(b.log.String(), "stderr="), 3*maxLines)
}

func TestStderrIsNotShownWhereAMethodHasSensitiveParams(t *testing.T) {
	b := newBench(t)
	m := b.methods(fmt.Sprintf(`
[workers.w]
command = [%q]
[methods.flood]
worker = "w"
[methods.flood.params.properties]
count = {type = "integer"}
key = {type = "string", sensitive = true}
`, program(t, "plain")))
	m["flood"].ask(`{"count":1}`)
	<-b.workers.Stop()
	require.Contains(t, b.log.String(), "sensitive")
	require.NotContains(t, b.log.String(), "line 0")
}

func isGone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH || isZombie(pid) }

// isZombie is for children of a worker that has ended: in a container nobody may
// reap them.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestStopEndsTheWholeGroupWithinASecond(t *testing.T) {
	for _, argument := range []string{"", "deaf-to-sigterm"} {
		t.Run(argument, func(t *testing.T) {
			b := newBench(t)
			m := b.methods(fmt.Sprintf(`
[workers.w]
command = [%q, %q]
[methods.child]
worker = "w"
[methods.pid]
worker = "w"
[methods.wait]
worker = "w"
`, program(t, "plain"), argument))
			var child, pid int
			require.NoError(t, json.Unmarshal([]byte(m["child"].ask("{}")), &child))
			require.NoError(t, json.Unmarshal([]byte(m["pid"].ask("{}")), &pid))
			waiting := make(chan error, 1)
			go func() {
				_, err := m["wait"].call(context.Background(), "{}", nil)
				waiting <- err
			}()
			require.Eventually(t, func() bool { return m["pid"].worker.pool.load() == 1 }, longWait, time.Millisecond)
			begun := time.Now()
			<-b.workers.Stop()
			require.True(t, isGone(pid))
			require.Eventually(t, func() bool { return isGone(child) }, longWait, time.Millisecond, "what the worker had started is gone")
			require.Less(t, time.Since(begun), time.Second)
			var wire *rpc.Error
			require.ErrorAs(t, <-waiting, &wire)
			require.Equal(t, rpc.ExecutedUnknown, dataOf(t, wire).Executed)
			e := m["pid"].fail("{}")
			require.Equal(t, rpc.CodeShuttingDown, e.Code)
			require.Equal(t, rpc.ExecutedNo, dataOf(t, e).Executed)
		})
	}
}

func TestAWorkerThatIsNotCalledEnds(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, `idle_timeout = "50ms"`, "pid")["pid"]
	var pid int
	require.NoError(t, json.Unmarshal([]byte(m.ask("{}")), &pid))
	require.Eventually(t, func() bool { return isGone(pid) }, longWait, time.Millisecond)
	require.NotEqual(t, fmt.Sprint(pid), m.ask("{}"), "and comes again when it is")
}

func TestAWorkerThatHangsIsStartedAnew(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, `stall_timeout = "50ms"`, "sleep-all", "pid")
	before := m["pid"].ask("{}")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m["sleep-all"].call(ctx, "{}", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		now, err := m["pid"].call(ctx, "{}", nil)
		return err == nil && now != before
	}, longWait, time.Millisecond)
	require.Contains(t, b.log.String(), "stall_timeout")
}

func TestAWorkerThatClosesItsStdoutIsEnded(t *testing.T) {
	b := newBench(t)
	m := plain(t, b, "", "close-stdout", "echo")
	e := m["close-stdout"].fail("{}")
	require.Equal(t, rpc.ExecutedUnknown, dataOf(t, e).Executed)
	require.Equal(t, `"x"`, m["echo"].ask(`{"text":"x"}`))
}

func TestAWorkerThatCanNotStartIsTriedAgainLater(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "worker")
	m := b.methods(fmt.Sprintf("[workers.w]\ncommand = [%q]\n[methods.echo]\nworker = \"w\"\n", path))["echo"]
	e := m.fail("{}")
	data := dataOf(t, e)
	require.Equal(t, rpc.CodeInternalError, e.Code)
	require.Equal(t, rpc.ExecutedNo, data.Executed)
	require.Equal(t, "unavailable", data.Reason)
	require.Equal(t, minPause.Milliseconds(), data.RetryAfterMS)
	require.Contains(t, b.log.String(), "no such file")
	require.NotContains(t, e.Message, "no such file", "that is for the log")
	built, err := os.ReadFile(program(t, "plain"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, built, 0o700))
	require.Equal(t, `"here"`, m.ask(`{"text":"here"}`))
}

func TestAReloadKeepsWorkersWhoseDefinitionHasNotChanged(t *testing.T) {
	b := newBench(t)
	old := plain(t, b, "", "pid", "wait")
	pid := old["pid"].ask("{}")
	same := plain(t, b, "", "pid")
	changed := plain(t, b, "max_in_flight = 3", "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waiting := make(chan error, 1)
	go func() {
		_, err := old["wait"].call(ctx, "{}", nil)
		waiting <- err
	}()
	require.Eventually(t, func() bool { return old["pid"].worker.pool.load() == 1 }, longWait, time.Millisecond)
	for _, m := range old {
		m.worker.Close()
	}
	require.Equal(t, pid, same["pid"].ask("{}"))
	require.NotEqual(t, pid, changed["pid"].ask("{}"))
	same["pid"].worker.Close()
	select {
	case err := <-waiting:
		t.Fatalf("the call of a worker that no method uses any more was dropped: %v", err)
	case <-old["pid"].worker.pool.quiet:
		t.Fatal("it ended with a call")
	default:
	}
	cancel()
	<-waiting
	<-old["pid"].worker.pool.quiet
}

// A call may have been taken before a reload and come after it.
func TestACallOfAMethodThatIsClosedIsAnsweredAndLeavesNoWorker(t *testing.T) {
	b := newBench(t)
	old := plain(t, b, "", "pid")["pid"]
	pid := old.ask("{}")
	old.worker.Close()
	<-old.worker.pool.quiet
	late := old.ask("{}")
	require.NotEqual(t, pid, late)
	b.workers.mu.Lock()
	pools := slices.Clone(b.workers.pools)
	b.workers.mu.Unlock()
	for _, pool := range pools {
		<-pool.quiet
	}

	same := plain(t, b, "", "pid")["pid"]
	require.Equal(t, same.ask("{}"), old.ask("{}"), "a process that is there is used")
	same.worker.Close()
}
