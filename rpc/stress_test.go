package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRepliesAreIntactUnderLoadOnARealSocket sends calls of all sizes from many
// connections, slow and fast ones mixed, so that buffers are shared, detached,
// forked and freed in every order, and compares every reply with its request.
func TestRepliesAreIntactUnderLoadOnARealSocket(t *testing.T) {
	slowEcho := HandlerFunc(func(ctx context.Context, req *Request) (any, error) {
		before := bytes.Clone(req.Params)
		select {
		case <-time.After(time.Duration(rand.IntN(4)) * time.Millisecond):
		case <-ctx.Done():
		}
		if !bytes.Equal(before, req.Params) {
			return nil, fmt.Errorf("params changed while the handler ran")
		}
		return req.Params, nil
	})
	srv := &Server{Methods: testMethods(t, &Method{Name: "slow", Handler: slowEcho, TakesArray: true}), Limits: Limits{MaxConcurrentRequests: 5}}
	path := startServer(t, srv)
	var wg sync.WaitGroup
	for client := range 12 {
		wg.Go(func() {
			if err := echoClient(path, client, 40); err != nil {
				t.Errorf("client %d: %v", client, err)
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { s := srv.Stats(); return s.Running == 0 && s.Queued == 0 && s.Connections == 0 }, patience, time.Millisecond)
}

func echoClient(path string, client, calls int) error {
	nc, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(5 * patience)) // for all: 80 MB are decoded, under the race detector
	random := rand.New(rand.NewPCG(uint64(client), 1))
	params := make([]string, calls)
	var items []string
	var frames []string
	for id := range params {
		size := []int{0, 10, 100, 1000, 20 << 10, 70 << 10, 300 << 10}[random.IntN(7)]
		params[id] = fmt.Sprintf(`[%d,"%s"]`, id, strings.Repeat(string(rune('a'+id%26)), size))
		item := fmt.Sprintf(`{"jsonrpc":"2.0","method":"%s","params":%s,"id":%d}`, []string{"echo", "slow"}[random.IntN(2)], params[id], id)
		if random.IntN(4) == 0 {
			items = append(items, item)
			continue
		}
		if len(items) > 0 {
			frames = append(frames, "["+strings.Join(items, ",")+"]\n")
			items = nil
		}
		frames = append(frames, item+"\n")
	}
	if len(items) > 0 {
		frames = append(frames, "["+strings.Join(items, ",")+"]\n")
	}
	go func() {
		for _, f := range frames {
			if _, err := nc.Write([]byte(f)); err != nil {
				return
			}
		}
	}()
	lines := bufio.NewReaderSize(nc, 1<<20)
	for left := calls; left > 0; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("%d replies are missing: %w", left, err)
		}
		var replies []reply
		if line[0] != '[' {
			line = append(append([]byte{'['}, line...), ']')
		}
		if err := json.Unmarshal(line, &replies); err != nil {
			return err
		}
		for _, r := range replies {
			var id int
			if err := json.Unmarshal(r.ID, &id); err != nil || r.Error != nil {
				return fmt.Errorf("reply %.300s", line)
			}
			if string(r.Result) != params[id] {
				return fmt.Errorf("call %d: got %.100s", id, r.Result)
			}
			params[id] = "answered"
			left--
		}
	}
	return nil
}
