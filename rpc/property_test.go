package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// op is one thing that a random client does.
type op struct {
	kind string
	ids  []int // of calls; ids repeat, so that some are in flight already
	ms   int   // how long the handler of a call takes
	deaf bool  // the handler does not heed its context
}

func (o op) request(i int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"work","params":{"ms":%d,"deaf":%t},"id":%d}`, o.ms, o.deaf, o.ids[i])
}

func (o op) line() string {
	switch o.kind {
	case "call":
		return o.request(0)
	case "stream":
		return strings.Replace(o.request(0), "work", "watch", 1)
	case "batch":
		items := make([]string, len(o.ids))
		for i := range items {
			items[i] = o.request(i)
		}
		return "[" + strings.Join(items, ",") + "]"
	case "notification":
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"work","params":{"ms":%d},"id":null}`, o.ms)
	case "cancel":
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":%d}}`, o.ids[0])
	case "unknown":
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"nothing","id":%d}`, o.ids[0])
	}
	panic(o.kind)
}

// expected is how many replies an op leads to, under an id or as a refusal of
// it.
func (o op) expected() []int {
	switch o.kind {
	case "call", "stream", "batch", "unknown":
		return o.ids
	}
	return nil
}

func opGenerator() *rapid.Generator[op] {
	return rapid.Custom(func(t *rapid.T) op {
		kind := rapid.SampledFrom([]string{"call", "call", "call", "stream", "batch", "notification", "cancel", "cancel", "unknown", "pause", "disconnect"}).Draw(t, "kind")
		n := 1
		if kind == "batch" {
			n = rapid.IntRange(1, 5).Draw(t, "items")
		}
		return op{
			kind: kind,
			ids:  rapid.SliceOfN(rapid.IntRange(1, 12), n, n).Draw(t, "ids"),
			ms:   rapid.SampledFrom([]int{0, 0, 1, 3, 20, 200}).Draw(t, "ms"),
			deaf: rapid.Bool().Draw(t, "deaf"),
		}
	})
}

func workHandler(ctx context.Context, req *Request) (any, error) {
	var p struct {
		MS   int  `json:"ms"`
		Deaf bool `json:"deaf"`
	}
	if err := DecodeParams(req.Params, &p); err != nil {
		return nil, err
	}
	if p.MS == 0 {
		return "done", nil
	}
	done := ctx.Done()
	if p.Deaf {
		done = nil
	}
	select {
	case <-time.After(time.Duration(p.MS) * time.Millisecond):
		return "done", nil
	case <-done:
		return nil, ctx.Err()
	}
}

// randomClient plays ops and counts, for each id, requests and outcomes.
type randomClient struct {
	nc       net.Conn
	stops    bool // the server stops while it plays
	ended    bool // the connection did, before everything was answered
	refused  bool // the connection was
	sent     map[int]int
	got      map[int]int
	problems []string
}

func (c *randomClient) read() {
	scanner := bufio.NewScanner(c.nc)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := scanner.Bytes()
		var replies []reply
		if line[0] == '[' {
			if err := json.Unmarshal(line, &replies); err != nil {
				c.problems = append(c.problems, err.Error())
			}
		} else {
			replies = make([]reply, 1)
			if err := json.Unmarshal(line, &replies[0]); err != nil {
				c.problems = append(c.problems, err.Error())
			}
		}
		for _, r := range replies {
			c.outcome(r, string(line))
		}
	}
}

func (c *randomClient) outcome(r reply, line string) {
	if r.Method != "" {
		return // an event
	}
	var id int
	switch {
	case string(r.ID) != "null":
		_ = json.Unmarshal(r.ID, &id)
	case r.Error != nil && r.Error.Data["reason"] == ReasonDuplicateID:
		id = int(r.Error.Data["id"].(float64))
	case c.stops && r.Error != nil && r.Error.Data["reason"] == ReasonShuttingDown:
		c.refused = true // the connection, not a call
		return
	default:
		c.problems = append(c.problems, "a reply for nothing: "+line)
		return
	}
	c.got[id]++
}

func (c *randomClient) play(ops []op) {
	for _, o := range ops {
		switch o.kind {
		case "pause":
			<-time.After(time.Duration(o.ms) * time.Millisecond)
			continue
		case "disconnect":
			_ = c.nc.Close()
			c.ended = true
			return
		}
		for _, id := range o.expected() {
			c.sent[id]++
		}
		if _, err := c.nc.Write([]byte(o.line() + "\n")); err != nil {
			if c.ended = true; !c.stops {
				c.problems = append(c.problems, "write: "+err.Error())
			}
			return
		}
	}
}

// TestEachIDIsAnsweredExactlyOnce plays random clients against a server with
// few slots, so that calls run on the reader, are taken over, are queued and
// are cancelled in every state.
func TestEachIDIsAnsweredExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plans := rapid.SliceOfN(rapid.SliceOfN(opGenerator(), 1, 25), 1, 4).Draw(rt, "plans")
		slots := rapid.IntRange(1, 4).Draw(rt, "slots")
		inFlight := rapid.IntRange(1, 10).Draw(rt, "inFlight")
		stopAfter := rapid.SampledFrom([]int{-1, -1, -1, 0, 5, 50}).Draw(rt, "stopAfter")
		var problems []string
		inBubble(t, func() *Server {
			return &Server{
				Methods: testMethods(t, &Method{Name: "work", Handler: HandlerFunc(workHandler)},
					&Method{Name: "watch", Stream: func(ctx context.Context, req *Request, s *Stream) (any, error) {
						for range 3 {
							if err := s.Send("tick", nil); err != nil {
								return nil, err
							}
						}
						return workHandler(ctx, req)
					}}),
				Limits: Limits{MaxConcurrentRequests: slots, MaxInFlightPerConnection: inFlight, QueueTimeout: 100 * time.Millisecond},
			}
		}, func(t *testing.T, srv *Server, l *memoryListener) {
			clients := make([]*randomClient, len(plans))
			reading := make(chan *randomClient)
			left := make(chan struct{})
			for i, plan := range plans {
				c := &randomClient{nc: l.dial(uint32(1000 + i%2)), stops: stopAfter >= 0, sent: map[int]int{}, got: map[int]int{}}
				clients[i] = c
				go func() { c.read(); reading <- c }()
				go func() { c.play(plan); left <- struct{}{} }()
			}
			if stopAfter >= 0 {
				<-time.After(time.Duration(stopAfter) * time.Millisecond)
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(stopAfter)*time.Millisecond)
				if err := srv.Shutdown(ctx); err != nil && err != context.DeadlineExceeded {
					problems = append(problems, err.Error())
				}
				cancel()
			}
			for range plans {
				<-left
			}
			<-time.After(10 * time.Second) // everything has ended or timed out by then
			synctest.Wait()
			for _, c := range clients {
				_ = c.nc.Close()
			}
			for range plans {
				<-reading
			}
			for i, c := range clients {
				problems = append(problems, c.problems...)
				for id, n := range c.sent {
					if c.got[id] > n || (!c.ended && !c.refused && c.got[id] != n) {
						problems = append(problems, fmt.Sprintf("client %d, id %d: sent %d times, answered %d times", i, id, n, c.got[id]))
					}
				}
			}
		})
		if len(problems) > 0 {
			rt.Fatalf("%s", strings.Join(problems, "\n"))
		}
	})
}

func TestIDsCompareByWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`1`, `1`, true},
		{`1`, `1.0`, false}, // its bytes are what counts for a number
		{`1`, `"1"`, false},
		{`"a"`, `"\u0061"`, true},
		{`"\u0061"`, `"\u0061"`, true},
		{`"a"`, `"b"`, false},
	} {
		require.Equal(t, c.same, sameID([]byte(c.a), []byte(c.b)), "%s %s", c.a, c.b)
	}
}
