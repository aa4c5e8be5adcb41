package systemd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// idleExit is the shortest that the daemon accepts.
const idleExit = 5 * time.Second

// A client that connects around an idle exit meets the daemon as it looks whether
// it is idle, as it exits, when the service manager has not noticed yet, or the
// next one. Whatever it is, its call is answered, once, and the socket lives on
// with the limits on starts that the units have.
func TestAroundAnIdleExitEveryCallIsAnswered(t *testing.T) {
	// Since the exit comes after 5 s at the earliest, many units like
	// marianned.service live in parallel, each with its own socket.
	instances, each := soaking(8, 100), soaking(2, 20)
	b := installed(t)
	names := make([]string, instances)
	for i := range names {
		names[i] = fmt.Sprintf("idle%d", i)
	}
	copyUnits(t, b, names, "--idle-exit="+idleExit.String())

	var all sync.WaitGroup
	results := make([]*visits, instances)
	for i, name := range names {
		v := &visits{path: b.Path(instancePath(name)), pids: map[int]bool{}}
		results[i] = v
		all.Go(func() {
			// Their exits are spread over time, as are the starts that follow.
			time.Sleep(rand.N(idleExit))
			for len(v.pids) < each && len(v.problems) == 0 {
				v.around(v.left.Add(idleExit))
			}
		})
	}
	all.Wait()
	calls, activations := 0, 0
	for i, v := range results {
		require.Empty(t, v.problems, names[i])
		calls += v.calls
		activations += len(v.pids)
		require.Equal(t, map[string]string{"ActiveState": "active", "Result": "success"},
			b.Show(t, names[i]+".socket", "ActiveState", "Result"))
		require.Contains(t, []string{"active", "inactive", "deactivating"}, b.Show(t, names[i]+".service", "ActiveState")["ActiveState"])
	}
	t.Logf("%d activations of %d daemons, %d clients around their exits, each answered once", activations, instances, calls)
}

// visits are the calls to one socket.
type visits struct {
	path string
	left time.Time // when the last client hung up

	mu       sync.Mutex
	calls    int
	pids     map[int]bool
	problems []string
}

// around has three clients call at moments around the one that is given.
func (v *visits) around(moment time.Time) {
	var clients sync.WaitGroup
	for range 3 {
		// An exit takes some milliseconds from the daemon's decision until the
		// service manager listens again, and more on a busy machine.
		at := moment.Add(rand.N(60*time.Millisecond) - 10*time.Millisecond)
		clients.Go(func() {
			time.Sleep(time.Until(at))
			pid, err := visit(v.path)
			v.mu.Lock()
			defer v.mu.Unlock()
			v.calls++
			if err != nil {
				v.problems = append(v.problems, err.Error())
				return
			}
			v.pids[pid] = true
		})
	}
	clients.Wait()
	v.left = time.Now()
}

// visit makes two calls on a connection of its own, says that it has no more, and
// requires an answer to each, and the end.
func visit(path string) (pid int, err error) {
	nc, err := net.Dial("unix", path)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(box.Patience))
	token := fmt.Sprint(rand.Uint64())
	if _, err := fmt.Fprintf(nc, `{"jsonrpc":"2.0","id":1,"method":"rpc.echo","params":[%q]}`+"\n"+
		`{"jsonrpc":"2.0","id":2,"method":"daemon.health"}`+"\n", token); err != nil {
		return 0, err
	}
	lines := bufio.NewReader(nc)
	var replies []string
	for range 2 {
		line, err := lines.ReadString('\n')
		if err != nil {
			return 0, fmt.Errorf("after %q: %w", replies, err)
		}
		replies = append(replies, strings.TrimSuffix(line, "\n"))
	}
	slices.Sort(replies)
	if err := nc.(*net.UnixConn).CloseWrite(); err != nil {
		return 0, err
	}
	rest, err := io.ReadAll(lines)
	var reply struct{ Result health }
	switch {
	case err != nil:
		return 0, fmt.Errorf("after all replies: %w", err)
	case len(rest) > 0 || replies[0] != fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":[%q]}`, token):
		return 0, fmt.Errorf("found %q and %q, expected each call answered once", replies, rest)
	}
	if err := json.Unmarshal([]byte(replies[1]), &reply); err != nil || reply.Result.PID == 0 {
		return 0, fmt.Errorf("found %q, expected the health: %w", replies[1], err)
	}
	return reply.Result.PID, nil
}

func instancePath(name string) string { return "/run/" + name + "/marianned.sock" }

// copyUnits installs a copy of the system's units for each name, which differs in
// names and paths alone, with more flags for the daemon, and starts its socket.
func copyUnits(t *testing.T, b *box.Box, names []string, flags string) {
	t.Helper()
	var sockets, services []string
	for _, name := range names {
		for _, suffix := range []string{".socket", ".service"} {
			unit := b.Run(t, "cat", "/etc/systemd/system/marianned"+suffix)
			unit = strings.ReplaceAll(unit, socketPath, instancePath(name))
			unit = strings.ReplaceAll(unit, "marianned.socket", name+".socket")
			unit = strings.ReplaceAll(unit, " serve\n", " serve "+flags+"\n")
			b.Write(t, "/run/systemd/system/"+name+suffix, unit)
		}
		sockets = append(sockets, name+".socket")
		services = append(services, name+".service")
	}
	b.Systemctl(t, "daemon-reload")
	b.Systemctl(t, append([]string{"start"}, sockets...)...)
	t.Cleanup(func() {
		units := append(sockets, services...)
		b.Systemctl(t, append([]string{"stop"}, units...)...)
		for _, unit := range units {
			b.Run(t, "rm", "/run/systemd/system/"+unit)
		}
		b.Systemctl(t, "daemon-reload")
	})
}
