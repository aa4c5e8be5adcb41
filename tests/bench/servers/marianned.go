package servers

import (
	"context"
	"net"

	"github.com/marianned/marianned/rpc"

	"github.com/marianned/marianned/tests/bench/workload"
)

// mariannedRaw has the params as JSON text.
func mariannedRaw(l net.Listener, w *workload.Workload) error {
	return serveMarianned(l, w, rpc.RawFunc(func(_ context.Context, req *rpc.Request) (rpc.RawMessage, error) {
		return req.Params, nil
	}))
}

// mariannedTyped decodes params into a struct, and encodes one.
func mariannedTyped(l net.Listener, w *workload.Workload) error {
	return serveMarianned(l, w, rpc.Typed(func(_ context.Context, p params) (params, error) {
		return p, nil
	}))
}

// serveMarianned has every bound at its default, but for the number of
// connections: all of them are one user's here, and the idle ones are more than
// the default. The method says what is true of an echo, as a program's would that
// is called often.
func serveMarianned(l net.Listener, w *workload.Workload, echo rpc.Handler) error {
	methods := new(rpc.Methods)
	if err := methods.Register(&rpc.Method{Name: "echo", Handler: echo, KeepsNothing: true}); err != nil {
		return err
	}
	srv := &rpc.Server{Methods: methods, SpareThreads: true}
	srv.Limits.MaxConnections = max(rpc.DefaultLimits().MaxConnections, w.Conns+1)
	srv.Limits.MaxConnectionsPerUID = srv.Limits.MaxConnections
	return srv.Serve(l)
}
