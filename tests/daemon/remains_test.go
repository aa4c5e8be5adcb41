package daemon

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// left marks all that a call has started.
const left = "LEFT_BY_A_CALL=remains_test"

// endings are calls by the way in which they end, for methods of the same name.
var endings = map[string]struct {
	definition string
	call       func(ctx context.Context, c *rpc.Client, path string) error
}{
	"true":    {`exec = ["/bin/true"]`, plainly("true", "")},
	"fails":   {`exec = ["/bin/sh", "-c", "echo no >&2; exit 3"]`, plainly("fails", "exit status 3")},
	"killed":  {`exec = ["/bin/sh", "-c", "kill -9 $$"]`, plainly("killed", "ended by SIGKILL")},
	"missing": {`exec = ["/nowhere"]`, plainly("missing", "internal error")},
	"params":  {"exec = [\"/bin/cat\"]\nstdin = \"params\"\nparams.properties.a = { default = 1 }", plainly("params", "")},
	"deaf":    {"exec = [\"/bin/true\"]\nstdin = \"params\"\nparams.properties.a = { default = 1 }", plainly("deaf", "")},
	"leaves":  {`exec = ["/bin/sh", "-c", "sleep 1000 & exit 0"]`, plainly("leaves", "")},
	"floods":  {"exec = [\"/bin/cat\", \"/dev/zero\"]\nmax_output_bytes = 1000", plainly("floods", "larger than 1000 bytes")},
	"slow":    {"exec = [\"/bin/sh\", \"-c\", \"setsid sleep 1000 & sleep 1000\"]\ntimeout = \"2ms\"", plainly("slow", "longer than 2ms")},
	"cancelled": {`exec = ["/bin/sh", "-c", "setsid sleep 1000 & sleep 1000"]`, func(ctx context.Context, c *rpc.Client, _ string) error {
		ctx, cancel := context.WithTimeout(ctx, rand.N(5*time.Millisecond))
		defer cancel()
		return expect(c.Call(ctx, "cancelled", nil, nil), "deadline exceeded")
	}},
	"hung.up": {"exec = [\"/bin/sh\", \"-c\", \"setsid sleep 1000 & echo x; sleep 1000\"]\nstream = true", func(ctx context.Context, _ *rpc.Client, path string) error {
		c, err := rpc.Dial(ctx, path)
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := c.Stream(ctx, "hung.up", nil)
		if err == nil {
			_, err = s.Next(ctx)
		}
		return err
	}},
}

// plainly calls a method that ends by itself, or fails so.
func plainly(method, failure string) func(context.Context, *rpc.Client, string) error {
	return func(ctx context.Context, c *rpc.Client, _ string) error {
		return expect(c.Call(ctx, method, nil, nil), failure)
	}
}

func expect(err error, failure string) error {
	if failure != "" && err != nil && strings.Contains(err.Error(), failure) {
		return nil
	}
	if failure != "" && err == nil {
		return &unexpected{failure}
	}
	return err
}

type unexpected struct{ failure string }

func (e *unexpected) Error() string { return "the call did not fail, expected " + e.failure }

// However calls end: no process, be it a zombie, no descriptor and no file is left.
func TestNothingIsLeftOfTenThousandCalls(t *testing.T) {
	var text strings.Builder
	var kinds []string
	for name, ending := range endings {
		text.WriteString("[methods.\"" + name + "\"]\nallow = [\"everyone\"]\nenvironment = { LEFT_BY_A_CALL = \"remains_test\" }\n" + ending.definition + "\n")
		kinds = append(kinds, name)
	}
	path, temporary := filepath.Join(folder(t), "s"), folder(t)
	p := command(t, "marianned", "serve", "--config", os.DevNull, "--socket", path, "--methods", methodsFolder(t, text.String()))
	p.cmd.Env = append(p.cmd.Env, "TMPDIR="+temporary)
	p.start().answers(path)
	makeCalls(t, path, kinds, 200) // what is opened once is open then
	before := descriptors(t, p.cmd.Process.Pid)
	makeCalls(t, path, kinds, 10_000)
	require.Eventually(t, func() bool { return len(remains(t, p.cmd.Process.Pid)) == 0 }, patience, 10*time.Millisecond,
		"%s", lazy(func() string { return strings.Join(remains(t, p.cmd.Process.Pid), "\n") }))
	require.Eventually(t, func() bool { return len(descriptors(t, p.cmd.Process.Pid)) <= len(before) }, patience, 10*time.Millisecond,
		"%s", lazy(func() string { return strings.Join(descriptors(t, p.cmd.Process.Pid), "\n") }))
	entries, err := os.ReadDir(temporary)
	require.NoError(t, err)
	require.Empty(t, entries)
	t.Logf("descriptors before: %d, after: %d", len(before), len(descriptors(t, p.cmd.Process.Pid)))
}

// makeCalls makes so many from several callers at once: of four, three plain ones,
// which are fast, and one of the kinds in turn.
func makeCalls(t *testing.T, path string, kinds []string, n int) {
	t.Helper()
	const callers = 8
	errs := make(chan error, callers)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			c, err := rpc.Dial(t.Context(), path)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			for i := caller; i < n; i += callers {
				kind := "true"
				if nth := i / callers; nth%4 == 0 {
					kind = kinds[nth/4%len(kinds)]
				}
				if err := endings[kind].call(t.Context(), c, path); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		require.NoError(t, err)
	default:
	}
}

// descriptors lists those of a process.
func descriptors(t *testing.T, pid int) (list []string) {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		target, _ := os.Readlink(dir + "/" + e.Name()) // it may be closed meanwhile
		list = append(list, e.Name()+" "+target)
	}
	return list
}

// remains lists the children of the daemon, and what has left it since.
func remains(t *testing.T, daemon int) (list []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		environment, _ := os.ReadFile("/proc/" + e.Name() + "/environ") // of a zombie, nothing
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if fields[1] == strconv.Itoa(daemon) || bytes.Contains(environment, []byte(left)) {
			list = append(list, string(stat))
		}
	}
	return list
}
