package methods

import (
	"os"
	"strings"

	"github.com/marianned/marianned/rpc"
)

const (
	protocolPrefix = "rpc."
	daemonPrefix   = "daemon."
)

// open are the methods about the daemon that whoever may connect may call.
var open = map[string]bool{
	healthName: true,
	readyName:  true,
	statusName: true,
}

// Authorize is the built-in policy, for rpc.Server.Authorize. Whoever may
// connect may call rpc.*, daemon.health, daemon.ready and daemon.status. All
// else is for root and the user that this process runs as: to others it does
// not exist (rpc.ErrHidden), be it another method about the daemon or one that
// nobody has decided about.
//
// A program with methods of its own decides about those first:
//
//	func authorize(peer *rpc.Peer, method *rpc.Method) error {
//		if method.Name == "add" {
//			return nil
//		}
//		return methods.Authorize(peer, method)
//	}
func Authorize(peer *rpc.Peer, method *rpc.Method) error {
	return AuthorizeFor(ownUID, peer, method)
}

// AuthorizeFor is Authorize for a daemon that runs as another user.
func AuthorizeFor(owner uint32, peer *rpc.Peer, method *rpc.Method) error {
	if strings.HasPrefix(method.Name, protocolPrefix) || open[method.Name] || peer.UID == 0 || peer.UID == owner {
		return nil
	}
	return rpc.ErrHidden
}

var ownUID = uint32(os.Geteuid())
