package methods

import (
	"context"

	"github.com/marianned/marianned/rpc"
)

type shutdownParams struct {
	Graceful *bool `json:"graceful"` // nil: true
}

type shutdownResult struct {
	ShuttingDown bool `json:"shutting_down"`
}

func (d *Daemon) shutdown() *rpc.Method {
	return &rpc.Method{
		Name:    shutdownName,
		Summary: "Stops the daemon, after running calls have ended or at once",
		ParamsSchema: rpc.RawMessage(`{"type":"object","additionalProperties":false,
			"properties":{"graceful":{"type":["boolean","null"],"default":true,"description":"let running calls end, up to the drain timeout"}}}`),
		ResultSchema: rpc.RawMessage(`{"type":"object","required":["shutting_down"],"properties":{"shutting_down":{"const":true}}}`),
		Handler: rpc.Typed(func(ctx context.Context, params shutdownParams) (shutdownResult, error) {
			graceful := params.Graceful == nil || *params.Graceful
			// The server ends a call's context once its answer is queued: a stop
			// at once, begun earlier, would answer this call instead of us.
			context.AfterFunc(ctx, func() { d.Stop(graceful) })
			return shutdownResult{ShuttingDown: true}, nil
		}),
	}
}
