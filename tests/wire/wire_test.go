package wire

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/wirescript"
	"github.com/marianned/marianned/rpc"
)

// patience is how long a program may take to start or to end.
const patience = 20 * time.Second

var binaries string // the folder of marianned and fixture

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "wire")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binaries = dir
		for name, source := range map[string]string{"marianned": "../..", "fixture": "./fixture"} {
			if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, name), source).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// program starts a built program on a socket of its own and ends it with the
// test, which fails if it does not end well.
func program(t *testing.T, name string, flags []string) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wire")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	args := append([]string{"serve", "--config", os.DevNull, "--socket", path}, flags...)
	if name == "fixture" {
		args = append([]string{path}, flags...)
	}
	cmd := exec.Command(filepath.Join(binaries, name), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		require.NoError(t, cmd.Wait(), "%s", stderr.String())
		late.Stop()
	})
	require.Eventually(t, func() bool {
		nc, err := net.Dial("unix", path)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}, patience, time.Millisecond)
	return path
}

func TestEveryScriptHoldsOnABuiltProgram(t *testing.T) {
	scripts, err := wirescript.Load("../../rpc/testdata")
	require.NoError(t, err)
	played := map[string]int{}
	for _, s := range scripts {
		name := "marianned"
		if s.Fixture {
			name = "fixture"
		}
		played[name]++
		t.Run(s.Name+" on "+name, func(t *testing.T) {
			t.Parallel()
			path := program(t, name, s.Flags)
			require.NoError(t, s.Play(func() (net.Conn, error) { return net.Dial("unix", path) }))
		})
	}
	require.NotZero(t, played["marianned"])
	require.NotZero(t, played["fixture"])
}

func TestSocatGetsAnAnswer(t *testing.T) {
	socat, err := exec.LookPath("socat")
	if err != nil {
		t.Skip("needs socat: apt-get install socat")
	}
	path := program(t, "marianned", nil)
	cmd := exec.Command(socat, "-", "UNIX-CONNECT:"+path)
	cmd.Stdin = strings.NewReader(`{"jsonrpc":"2.0","method":"daemon.health","id":1}` + "\n")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `^\{"jsonrpc":"2.0","id":1,"result":\{"status":"ok","pid":\d+,"uptime_seconds":\d+\.\d+,"shutting_down":false\}\}\n$`, string(out))
}

func TestTheClientOfThisPackageAndTheBuiltDaemonUnderstandEachOther(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := rpc.Dial(ctx, program(t, "marianned", nil))
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	large := strings.Repeat("naïve ", 1<<20)
	var echoed struct{ Text string }
	require.NoError(t, client.Call(ctx, "rpc.echo", map[string]string{"Text": large}, &echoed))
	require.Equal(t, large, echoed.Text)

	stream, err := client.Stream(ctx, "daemon.monitor.stream", nil)
	require.NoError(t, err)
	first, err := stream.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, "monitor.started", first.Method)
	require.NoError(t, client.Call(ctx, "rpc.echo", nil, nil))
	for {
		e, err := stream.Next(ctx)
		require.NoError(t, err)
		if e.Method == "monitor.call" && bytes.Contains(e.Params, []byte(`"rpc.echo"`)) {
			break
		}
	}
	require.NoError(t, stream.Close())
}
