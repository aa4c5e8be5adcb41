package servers

import (
	"encoding/json"
	"net"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/marianned/marianned/tests/bench/workload"
)

type ethereumService struct{}

// Echo becomes bench_echo.
func (ethereumService) Echo(params json.RawMessage) json.RawMessage { return params }

func ethereum(l net.Listener, _ *workload.Workload) error {
	srv := rpc.NewServer()
	if err := srv.RegisterName("bench", ethereumService{}); err != nil {
		return err
	}
	return srv.ServeListener(l)
}
