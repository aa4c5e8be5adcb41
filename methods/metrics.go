package methods

import (
	"context"

	"github.com/marianned/marianned/rpc"
)

// metrics needs no slot: where all are taken is when it is asked for.
func (d *Daemon) metrics() *rpc.Method {
	return &rpc.Method{
		Name:         metricsName,
		Summary:      "Shows counters and gauges, in the text format of Prometheus",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"string"}`),
		Control:      true,
		Handler:      rpc.Typed(func(context.Context, rpc.NoParams) (string, error) { return d.Metrics() }),
	}
}
