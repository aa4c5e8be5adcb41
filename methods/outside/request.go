package outside

import (
	"github.com/marianned/marianned/rpc"
)

// Socket is where the service manager listens for the daemon.
const Socket = "/run/marianned-exec.sock"

// The methods of the other side: one for each kind of method that is run there.
const (
	methodRun    = "run"
	methodStream = "run.stream"
)

// maxMessageBytes bounds what goes between the two sides: above the largest
// messages between the daemon and its clients, whose bounds hold as well.
const maxMessageBytes = 128 << 20

// Request is a call that the daemon has taken.
type Request struct {
	Method    string         `json:"method"`
	Params    rpc.RawMessage `json:"params,omitempty"`
	RequestID string         `json:"request_id"`
	Peer      Peer           `json:"peer"`
}

// Peer is whose call it is, by what the daemon says.
type Peer struct {
	UID         uint32   `json:"uid"`
	GID         uint32   `json:"gid"`
	Groups      []uint32 `json:"groups,omitempty"`
	PID         int32    `json:"pid"`
	Socket      string   `json:"socket,omitempty"`
	Unit        string   `json:"unit,omitempty"`
	UserUnit    string   `json:"user_unit,omitempty"`
	UnitUnknown bool     `json:"unit_unknown,omitempty"`
}

func peerOf(p *rpc.Peer) Peer {
	return Peer{p.UID, p.GID, p.Groups, p.PID, p.Socket, p.Unit, p.UserUnit, p.UnitUnknown}
}

// RPC returns the peer as rules take it.
func (p Peer) RPC() *rpc.Peer {
	return &rpc.Peer{
		UID: p.UID, GID: p.GID, Groups: p.Groups, PID: p.PID,
		Socket: p.Socket, Unit: p.Unit, UserUnit: p.UserUnit, UnitUnknown: p.UnitUnknown,
	}
}
