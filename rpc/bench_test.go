package rpc

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// These benchmarks measure parts, without a socket; tests/bench measures the
// whole against other servers.

const smallCall = `{"jsonrpc":"2.0","method":"echo","params":{"a":1,"b":"hello"},"id":1234}`

func BenchmarkEnvelope(b *testing.B) {
	for name, frame := range map[string]string{
		"small":       smallCall,
		"other_order": `{"id":"a-1234","method":"echo","params":{"a":1,"b":"hello"},"jsonrpc":"2.0"}`,
		"spaces":      `{"jsonrpc": "2.0", "method": "echo", "params": {"a": 1, "b": "hello"}, "id": 1234}`,
		"ascii_1MiB":  `{"jsonrpc":"2.0","method":"echo","params":["` + strings.Repeat("x", 1<<20) + `"],"id":1}`,
		"mixed_1MiB":  `{"jsonrpc":"2.0","method":"echo","params":["` + strings.Repeat("größer, больше, 更大, 🙂; ", 1<<20/40) + `"],"id":1}`,
		"tree_1MiB":   `{"jsonrpc":"2.0","method":"echo","params":[` + strings.Repeat(`{"name":"x","n":[1,2.5,-3],"t":true},`, 1<<20/38) + `null],"id":1}`,
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(frame)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var env envelope
				if err := parseEnvelope(text, &env); err != nil || env.invalid != "" {
					b.Fatal(err, env.invalid)
				}
			}
		})
	}
}

func BenchmarkFrameReader(b *testing.B) {
	input := bytes.Repeat([]byte(smallCall+"\n"), 64)
	f := &frameReader{max: 1 << 20}
	b.SetBytes(int64(len(input)))
	b.ReportAllocs()
	for b.Loop() {
		f.filled(copy(f.space(), input), time.Time{})
		for {
			if _, more, _ := f.next(); more {
				break
			}
		}
		f.release()
	}
}

func BenchmarkAdmission(b *testing.B) {
	a := newAdmission(Limits{})
	echo := &Method{Name: "echo"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := &call{callContext: &callContext{conn: &conn{guest: &guest{account: new(account)}}}, method: echo}
		for pb.Next() {
			if started, _ := a.admit(c); started {
				a.release(c)
			}
		}
	})
}

// tapeConn is a client that sends n calls, so many at once, and takes every
// reply.
type tapeConn struct {
	net.Conn // nil: nothing else is called
	input    []byte
	n        int
	ended    chan struct{}
}

func (c *tapeConn) Read(b []byte) (int, error) {
	if c.n <= 0 {
		return 0, io.EOF
	}
	c.n -= bytes.Count(c.input, []byte("\n"))
	return copy(b, c.input), nil
}

func (c *tapeConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c *tapeConn) Close() error                     { close(c.ended); return nil }
func (c *tapeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *tapeConn) SetWriteDeadline(time.Time) error { return nil }
func (c *tapeConn) Peer() (*Peer, error)             { return &Peer{UID: 1000}, nil }

// BenchmarkCall is a call from its frame to its reply, without the kernel.
func BenchmarkCall(b *testing.B) {
	methods := testMethods(b)
	methods.Handle("typed", Typed(typedEcho))
	methods.Handle("raw", RawFunc(rawEcho))
	for _, m := range []*Method{
		{Name: "lean", Handler: RawFunc(rawEcho), KeepsNothing: true},
		{Name: "lean_typed", Handler: Typed(typedEcho), KeepsNothing: true},
	} {
		if err := methods.Register(m); err != nil {
			b.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		method string
		atOnce int
	}{
		"serial":               {"echo", 1},
		"pipelined":            {"echo", 64},
		"raw_pipelined":        {"raw", 64},
		"lean_pipelined":       {"lean", 64},
		"typed_serial":         {"typed", 1},
		"typed_pipelined":      {"typed", 64},
		"lean_typed_pipelined": {"lean_typed", 64},
	} {
		b.Run(name, func(b *testing.B) {
			srv := &Server{Methods: methods}
			l := newMemoryListener()
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			input := []byte(strings.ReplaceAll(strings.Repeat(smallCall+"\n", c.atOnce), "echo", c.method))
			b.ReportAllocs()
			b.ResetTimer()
			tape := &tapeConn{input: input, n: b.N, ended: make(chan struct{})}
			l.conns <- tape
			<-tape.ended
			b.StopTimer()
			_ = srv.Close()
			<-served
			close(l.conns)
		})
	}
}

type typedParams struct {
	A int    `json:"a"`
	B string `json:"b"`
}

func rawEcho(_ context.Context, req *Request) (RawMessage, error) { return req.Params, nil }

func typedEcho(_ context.Context, p typedParams) (typedParams, error) { return p, nil }
