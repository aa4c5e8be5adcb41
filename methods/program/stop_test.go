package program

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/rpc"
)

var errEnough = errors.New("enough")

// started runs a method whose program writes pids, each a line, to $PIDS until it
// says "ready". stop ends the call.
func started(t *testing.T, line, more string) (pids []int, stop func(), done <-chan error, f *fixture) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pids")
	f = method(t, shell(line)+"environment = { PIDS = \""+file+"\" }\n"+more)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := f.callWith(ctx, `{}`)
		ended <- err
	}()
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(file)
		lines := strings.Fields(string(text))
		if len(lines) == 0 || lines[len(lines)-1] != "ready" {
			return false
		}
		for _, l := range lines[:len(lines)-1] {
			pid, err := strconv.Atoi(l)
			require.NoError(t, err)
			pids = append(pids, pid)
		}
		return true
	}, patience, time.Millisecond)
	return pids, func() { cancel(errEnough) }, ended, f
}

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool { return !runs(pid) }, patience, time.Millisecond, "pid %d is still there", pid)
	}
}

// runs reports whether a process is there and no zombie: those of orphans are
// init's to take.
func runs(pid int) bool {
	if unix.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// programs are those that a call must not leave behind.
var programs = map[string]string{
	"one process":              `echo $$ >$PIDS; echo ready >>$PIDS; exec sleep 1000`,
	"children":                 `sleep 1000 & sleep 1000 & echo $$ $! >$PIDS; echo ready >>$PIDS; wait`,
	"one that ignores SIGTERM": `trap '' TERM; echo $$ >$PIDS; echo ready >>$PIDS; while :; do sleep 1000; done`,
	"one that is stopped":      `echo $$ >$PIDS; echo ready >>$PIDS; kill -STOP $$`,
	"one that left its group":  `setsid sh -c 'echo $$ >>$PIDS; echo ready >>$PIDS; exec sleep 1000' & echo $$ >$PIDS; wait`,
	"a daemon":                 `(setsid sh -c 'echo $$ >>$PIDS; echo ready >>$PIDS; exec sleep 1000 </dev/null >/dev/null 2>&1' &) ; sleep 1000`,
	"one that forks on":        `echo $$ >$PIDS; echo ready >>$PIDS; while :; do sleep 0.001; done`,
}

func TestAProgramIsGoneWithAllItsChildrenWithinASecond(t *testing.T) {
	for name, line := range programs {
		t.Run(name, func(t *testing.T) {
			pids, stop, done, f := started(t, line, "")
			require.NotEmpty(t, pids)
			began := time.Now()
			stop()
			require.ErrorIs(t, <-done, errEnough)
			require.Less(t, time.Since(began), time.Second)
			gone(t, pids)
			require.NoError(t, noChildren())
			require.False(t, killMarked([]byte("\x00"+requestVariable+f.requestID()+"\x00")))
		})
	}
}

func TestTheEndOfTheDaemonIsTheEndOfItsPrograms(t *testing.T) {
	pids, _, done, f := started(t, programs["one that ignores SIGTERM"], "")
	began := time.Now()
	<-f.processes.Stop()
	require.Less(t, time.Since(began), time.Second)
	require.Error(t, <-done)
	gone(t, pids)

	_, data := f.fails(`{}`)
	require.Equal(t, rpc.ReasonShuttingDown, data["reason"])
	require.Equal(t, "no", data["executed"])
}

func TestAProgramThatCleansUpMayDoSo(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "cleaned")
	_, stop, done, _ := started(t, `trap 'echo yes >`+mark+`; exit 0' TERM; echo $$ >$PIDS; echo ready >>$PIDS; while :; do sleep 0.01; done`, "")
	stop()
	require.ErrorIs(t, <-done, errEnough)
	text, err := os.ReadFile(mark)
	require.NoError(t, err)
	require.Equal(t, "yes\n", string(text))
}

func TestWhatAProgramLeftInItsGroupEndsWithIt(t *testing.T) {
	f := method(t, shell(`sleep 1000 & echo $!`))
	pid, err := strconv.Atoi(strings.Trim(f.result(`{}`), `\n"`))
	require.NoError(t, err)
	gone(t, []int{pid})
}

func TestAStreamThatHasEndedEndsItsProgram(t *testing.T) {
	pids, stop, done, _ := started(t, `echo $$ >$PIDS; echo ready >>$PIDS; while :; do echo x; done`, "stream = true\n")
	stop()
	require.ErrorIs(t, <-done, errEnough)
	gone(t, pids)
}

func TestACallThatHasEndedBeforeItsProgramIsStartedEnds(t *testing.T) {
	f := method(t, shell("sleep 1000"))
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errEnough)
	_, err := f.callWith(ctx, `{}`)
	require.ErrorIs(t, err, errEnough)
	require.NoError(t, noChildren())
}

func TestKernelsWithoutPidfdAreServedToo(t *testing.T) {
	f := method(t, shell("echo a"))
	f.program.processes.noPidfd = true
	require.Equal(t, `"a\n"`, f.result(`{}`))
	require.NoError(t, noChildren())
}

func TestAProcessThatTurnsIntoAnotherIsFound(t *testing.T) {
	restless := filepath.Join(t.TempDir(), "restless")
	require.NoError(t, os.WriteFile(restless, []byte("#!/bin/sh\nexec \"$0\"\n"), 0o755))
	cmd := exec.Command(restless)
	cmd.Env = []string{requestVariable + "0123456789"}
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	mark := []byte("\x00" + cmd.Env[0] + "\x00")
	for range 5000 {
		require.True(t, isMarked(strconv.Itoa(cmd.Process.Pid), mark))
	}
}

func TestAProcessWithoutEnvironmentIsNotWaitedFor(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.Env = []string{}
	require.NoError(t, cmd.Start())
	name := strconv.Itoa(cmd.Process.Pid)
	require.Eventually(t, func() bool { return isBare(name) }, patience, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	require.Eventually(t, func() bool { return !runs(cmd.Process.Pid) }, patience, time.Millisecond)
	require.True(t, isBare(name)) // a zombie
	_ = cmd.Wait()
	require.True(t, isBare(name))
}
