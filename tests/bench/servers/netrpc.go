package servers

import (
	"encoding/json"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"

	"github.com/marianned/marianned/tests/bench/workload"
)

type netRPCService struct{}

// Echo becomes Bench.Echo.
func (netRPCService) Echo(params json.RawMessage, result *json.RawMessage) error {
	*result = params
	return nil
}

func netRPC(l net.Listener, _ *workload.Workload) error {
	srv := rpc.NewServer()
	if err := srv.RegisterName("Bench", netRPCService{}); err != nil {
		return err
	}
	return each(l, func(c *net.UnixConn) { srv.ServeCodec(jsonrpc.NewServerCodec(c)) })
}
