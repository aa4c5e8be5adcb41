package methods

import (
	"context"
	"time"

	"github.com/marianned/marianned/rpc"
)

type peer struct {
	Connection       uint64  `json:"connection"`
	UID              uint32  `json:"uid"`
	GID              uint32  `json:"gid"`
	PID              int32   `json:"pid"`
	Socket           string  `json:"socket,omitempty"`
	Unit             string  `json:"unit,omitempty"`
	UserUnit         string  `json:"user_unit,omitempty"`
	ConnectedSeconds decimal `json:"connected_seconds"`
	InFlight         int     `json:"in_flight"`
	Streams          int     `json:"streams"`
	BufferedBytes    int     `json:"buffered_bytes"`
}

type peers struct {
	Peers []peer `json:"peers"`
}

// peers needs no slot: who holds them all is what it is asked.
func (d *Daemon) peers() *rpc.Method {
	return &rpc.Method{
		Name:         peersName,
		Summary:      "Lists the connections, whose they are, and what each of them holds",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"object","required":["peers"],
			"properties":{"peers":{"type":"array","items":{"type":"object",
				"required":["connection","uid","gid","pid","connected_seconds","in_flight","streams","buffered_bytes"],
				"properties":{
					"connection":{"type":"integer","description":"its number, which is in the log and in request ids"},
					"uid":{"type":"integer"},
					"gid":{"type":"integer"},
					"pid":{"type":"integer","description":"of the process that connected; it may have ended"},
					"socket":{"type":"string","description":"name of the socket that it came through"},
					"unit":{"type":"string","description":"system service that it runs in"},
					"user_unit":{"type":"string","description":"service of a user's service manager that it runs in"},
					"connected_seconds":{"type":"number"},
					"in_flight":{"type":"integer","description":"calls that run or wait, streams included"},
					"streams":{"type":"integer"},
					"buffered_bytes":{"type":"integer","description":"input and output held for it"}}}}}}`),
		Control: true,
		Handler: rpc.Typed(func(context.Context, rpc.NoParams) (peers, error) {
			list := []peer{}
			for _, c := range d.Server.Connections() {
				list = append(list, peer{
					Connection: c.Number, UID: c.Peer.UID, GID: c.Peer.GID, PID: c.Peer.PID,
					Socket: c.Peer.Socket, Unit: c.Peer.Unit, UserUnit: c.Peer.UserUnit,
					ConnectedSeconds: decimal(float64(time.Since(c.Since).Milliseconds()) / 1000),
					InFlight:         c.InFlight, Streams: c.Streams, BufferedBytes: c.BufferedBytes,
				})
			}
			return peers{list}, nil
		}),
	}
}
