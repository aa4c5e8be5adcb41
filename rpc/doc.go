// Package rpc serves newline-delimited JSON-RPC 2.0 on Unix sockets, with
// everything that a client can consume bounded, and has a client for it.
//
// The smallest program serves one method:
//
//	type Sum struct{ A, B int }
//
//	methods := new(rpc.Methods)
//	methods.Handle("add", rpc.Typed(func(_ context.Context, p Sum) (int, error) {
//		return p.A + p.B, nil
//	}))
//	listener, err := net.Listen("unix", path)
//	if err != nil { … }
//	srv := &rpc.Server{Methods: methods}
//	err = srv.Serve(listener) // until srv.Shutdown: rpc.ErrServerClosed
//
// and a client calls it:
//
//	client, err := rpc.Dial(ctx, path)
//	var sum int
//	err = client.Call(ctx, "add", Sum{2, 3}, &sum)
//
// # The way of a request
//
//	accept -> peer -> frame -> envelope -> admission -> handler -> reply queue -> write
//
// with no step back. A connection gets its Peer from the kernel when it is
// accepted. Its reader cuts the input into frames (frame.go) and reads each
// envelope in one pass (envelope.go, scan.go); params stay as they are. The
// handler runs on the reader's goroutine, or, where all slots are taken, later
// on one of its own; if it is slow, another goroutine takes the reading over
// (takeover.go). Replies gather in the connection's output and are written
// together (output.go, write.go).
//
// Every bound is checked, and every refusal made, by one object (admission.go, admission_*.go).
//
// # What a client can rely on
//
// Each call is answered exactly once, or its connection ends. The data of a
// refusal says whether the call was executed: see ErrorData. A call that was
// sent runs to its end even if its client hangs up, unless its Method says
// otherwise. Requests of one connection start in the order they came.
package rpc
