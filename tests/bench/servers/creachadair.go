package servers

import (
	"context"
	"encoding/json"
	"net"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/creachadair/jrpc2/handler"
	"github.com/creachadair/jrpc2/server"

	"github.com/marianned/marianned/tests/bench/workload"
)

// concurrency is given to the servers that have such an option: as many requests
// at once as marianned allows by default.
const concurrency = 50

func creachadair(l net.Listener, _ *workload.Workload) error {
	methods := handler.Map{"echo": func(_ context.Context, req *jrpc2.Request) (any, error) {
		var params json.RawMessage
		if err := req.UnmarshalParams(&params); err != nil {
			return nil, err
		}
		return params, nil
	}}
	return server.Loop(context.Background(), server.NetAccepter(l, channel.Line), server.Static(methods),
		&server.LoopOptions{ServerOptions: &jrpc2.ServerOptions{Concurrency: concurrency}})
}
