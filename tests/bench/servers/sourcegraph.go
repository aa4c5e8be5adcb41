package servers

import (
	"context"
	"net"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/marianned/marianned/tests/bench/workload"
)

// sourcegraph runs the handler on the goroutine that reads, which is faster here
// than its AsyncHandler, a goroutine for each request without a bound.
func sourcegraph(l net.Listener, _ *workload.Workload) error {
	echo := jsonrpc2.HandlerWithError(func(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) (any, error) {
		return req.Params, nil
	}).SuppressErrClosed()
	return each(l, func(c *net.UnixConn) {
		stream := jsonrpc2.NewPlainObjectStream(c)
		<-jsonrpc2.NewConn(context.Background(), stream, echo).DisconnectNotify()
	})
}
