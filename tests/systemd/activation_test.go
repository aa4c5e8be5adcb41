package systemd

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

func TestNothingRunsUntilTheFirstConnectWhichIsAnswered(t *testing.T) {
	b := installed(t)
	require.Equal(t, "listening", b.Show(t, socketUnit, "SubState")["SubState"])
	service := b.Show(t, serviceUnit, "ActiveState", "MainPID")
	require.Equal(t, map[string]string{"ActiveState": "inactive", "MainPID": "0"}, service)

	c := dial(t, b)
	health := c.health()
	require.Equal(t, "ok", health.Status)
	service = b.Show(t, serviceUnit, "ActiveState", "SubState", "MainPID", "User", "NRestarts")
	require.Equal(t, map[string]string{"ActiveState": "active", "SubState": "running",
		"MainPID": strconv.Itoa(health.PID), "User": "marianned", "NRestarts": "0"}, service)
	require.Equal(t, "running", b.Show(t, socketUnit, "SubState")["SubState"])
	require.Equal(t, health.PID, dial(t, b).health().PID, "the second client meets the same daemon")
}

func TestAfterABootTheSocketIsThereAndNothingElse(t *testing.T) {
	b := installed(t)
	b.Reboot(t)
	require.Equal(t, map[string]string{"ActiveState": "active", "SubState": "listening", "UnitFileState": "enabled"},
		b.Show(t, socketUnit, "ActiveState", "SubState", "UnitFileState"))
	require.Equal(t, map[string]string{"ActiveState": "inactive", "InvocationID": ""}, // it has never run
		b.Show(t, serviceUnit, "ActiveState", "InvocationID"))
	require.Equal(t, "ok", dial(t, b).health().Status)
}

// From connect(2) to the reply: the service manager notices, starts the process,
// makes its sandbox, and the daemon answers.
func TestTheFirstClientWaitsForLittle(t *testing.T) {
	rounds := soaking(10, 50)
	b := installed(t)
	b.DropIn(t, serviceUnit, limitless)
	b.DropIn(t, socketUnit, "[Socket]\nTriggerLimitIntervalSec=0\n")
	b.Systemctl(t, "restart", socketUnit)
	var cold, warm []time.Duration
	for range rounds {
		b.Systemctl(t, "stop", serviceUnit)
		cold = append(cold, timed(func() { dial(t, b).health() }))
		warm = append(warm, timed(func() { dial(t, b).health() }))
	}
	slices.Sort(cold)
	slices.Sort(warm)
	t.Logf("connect to reply: median of %d: cold %s (%s to %s), warm %s",
		rounds, cold[rounds/2], cold[0], cold[rounds-1], warm[rounds/2])
	require.Less(t, cold[rounds/2], time.Second)
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestAHundredFirstClientsAreServedByOneDaemon(t *testing.T) {
	b := installed(t)
	pids := make(chan int, 100)
	failures := make(chan error, cap(pids))
	var clients sync.WaitGroup
	for range cap(pids) {
		clients.Go(func() {
			pid, err := visit(b.Path(socketPath))
			pids <- pid
			failures <- err
		})
	}
	clients.Wait()
	first := <-pids
	for range cap(pids) - 1 {
		require.Equal(t, first, <-pids)
	}
	for range cap(failures) {
		require.NoError(t, <-failures)
	}
}

func TestTheFirstClientMayBeTheCommandOfAMember(t *testing.T) {
	b := installed(t)
	user(t, b, "ann", "marianned")
	require.Equal(t, "\"pong\"\n", b.Run(t, box.As("ann", binary, "call", "--json", "rpc.ping")...))
}

func TestSystemdHasNothingToSayAboutWhatIsInstalled(t *testing.T) {
	b := installed(t)
	for _, unit := range []string{socketUnit, serviceUnit} {
		require.Equal(t, box.Result{}, b.Try(t, "systemd-analyze", "verify", "/etc/systemd/system/"+unit))
	}
}
