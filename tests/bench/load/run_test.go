package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

func find(t *testing.T, name string) *workload.Workload {
	t.Helper()
	for _, w := range workload.All() {
		if w.Name == name {
			return w
		}
	}
	t.Fatalf("there is no workload %q", name)
	return nil
}

// runAgainst runs a workload against a server that answers each line by reply,
// which gets its number on the connection.
func runAgainst(t *testing.T, w *workload.Workload, reply func(n int, right []byte) []byte) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				lines := bufio.NewReader(nc)
				for n := 0; ; n++ {
					line, err := lines.ReadBytes('\n')
					if err != nil {
						return
					}
					id := 0
					if _, err := fmt.Sscan(string(line[bytes.Index(line, []byte(`"id":`))+5:]), &id); err != nil {
						return
					}
					slot, _ := w.Slot(id)
					if _, err := nc.Write(reply(n, servers.JSONRPC.Reply(w, slot))); err != nil {
						return
					}
				}
			}()
		}
	}()
	target := Target{Path: path, Dialect: servers.JSONRPC, Workload: w}
	_, err = Run(target, 10*time.Millisecond, 50*time.Millisecond, func() {}, func() {})
	return err
}

func TestARunWithOneWrongReplyIsNoMeasurement(t *testing.T) {
	for name, test := range map[string]struct {
		reply func(right []byte) []byte
		want  string
	}{
		"right":            {func(b []byte) []byte { return b }, ""},
		"another form":     {func(b []byte) []byte { return bytes.Replace(b, []byte(`"id":`), []byte(`"id": `), 1) }, ""},
		"the wrong result": {func(b []byte) []byte { return bytes.Replace(b, []byte(`"result":`), []byte(`"result":1,"x":`), 1) }, "expected"},
		"an error": {func([]byte) []byte {
			return []byte(`{"jsonrpc":"2.0","id":1000,"error":{"code":1,"message":"no"}}` + "\n")
		}, "expected"},
		"no JSON": {func([]byte) []byte { return []byte("nonsense\n") }, "nonsense"},
		"twice":   {func(b []byte) []byte { return append(bytes.Clone(b), b...) }, "no such call is in flight"},
	} {
		for _, workload := range []string{"serial", "pipelined"} {
			t.Run(name+"/"+workload, func(t *testing.T) {
				err := runAgainst(t, find(t, workload), func(n int, right []byte) []byte {
					if n == 5 {
						return test.reply(right)
					}
					return right
				})
				if test.want == "" && err != nil {
					t.Fatal(err)
				}
				if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Fatalf("found %v, expected an error with %q", err, test.want)
				}
			})
		}
	}
}

// The first call is answered behind the fiftieth.
func TestRepliesMayComeInAnyOrder(t *testing.T) {
	var held []byte
	err := runAgainst(t, find(t, "pipelined"), func(n int, right []byte) []byte {
		switch n {
		case 0:
			held = bytes.Clone(right)
			return nil
		case 50:
			return append(held, right...)
		}
		return right
	})
	if err != nil {
		t.Fatal(err)
	}
}
