package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

// Policy decides about one method. Its methods may be called from any goroutine.
type Policy struct {
	allow, deny []rule
	sockets     []string // nil: all
	hidden      bool
	place       definition.Place
}

// Decision is the answer for one peer, and why.
type Decision struct {
	Allowed bool
	// Hidden says, where it is not allowed, that the method does not exist for
	// the peer.
	Hidden bool
	// At is the line that decides: a rule, or the method that has none which
	// fits.
	At definition.Position
	// Why is a sentence without its beginning: `deny has "user:eve"`.
	Why string
}

// New reads the rules of a method of a daemon that runs as owner. What is wrong
// with them is added to findings.
func New(rules definition.Rules, place definition.Place, names Names, owner uint32, findings *definition.Findings) *Policy {
	p := &Policy{place: place, sockets: rules.Sockets, hidden: rules.Hidden == nil || *rules.Hidden}
	p.allow = parseAll(rules.Allow, "allow", place, names, owner, findings)
	p.deny = parseAll(rules.Deny, "deny", place, names, owner, findings)
	for i, name := range rules.Sockets {
		if !slices.Contains(socketNames, name) {
			findings.Add(place.At("sockets", fmt.Sprint(i)), "the socket %q: expected one of: %s", name, strings.Join(socketNames, ", "))
		}
	}
	if rules.Sockets != nil && len(rules.Sockets) == 0 {
		findings.Add(place.At("sockets"), "sockets is empty, so that nobody could call: name some, or leave it out for all")
	}
	return p
}

// socketNames are those of activation.
var socketNames = []string{"rpc", "admin"}

// rootOnly is what holds where a file has no allow.
const rootUID = 0

// Decide looks a peer up in the rules. It asks nobody else.
func (p *Policy) Decide(peer *rpc.Peer) Decision {
	d := Decision{Hidden: p.hidden}
	if p.sockets != nil && !slices.Contains(p.sockets, socketOf(peer)) {
		d.At, d.Why = p.place.At("sockets"), fmt.Sprintf("sockets does not have %q, through which the caller came", socketOf(peer))
		return d
	}
	if r := first(p.deny, peer); r != nil {
		d.At, d.Why = r.at, fmt.Sprintf("deny has %q", r.text)
		return d
	}
	if r := first(p.allow, peer); r != nil {
		d.Allowed, d.At, d.Why = true, r.at, fmt.Sprintf("allow has %q", r.text)
		return d
	}
	switch {
	case p.allow != nil:
		d.At, d.Why = p.place.At("allow"), "no item of allow fits the caller"
	case peer.UID == rootUID:
		d.Allowed, d.At, d.Why = true, p.place.At(), "there is no allow, so that root alone may call"
	default:
		d.At, d.Why = p.place.At(), "there is no allow, so that root alone may call"
	}
	return d
}

// socketOf returns the name of the socket that a peer came through; one without
// a name is the ordinary one.
func socketOf(peer *rpc.Peer) string {
	if peer.Socket == "" {
		return "rpc"
	}
	return peer.Socket
}

func first(rules []rule, peer *rpc.Peer) *rule {
	for i := range rules {
		if rules[i].match(peer) {
			return &rules[i]
		}
	}
	return nil
}

// UsesUnits reports whether a rule asks for the unit of the peer.
func (p *Policy) UsesUnits() bool {
	return slices.ContainsFunc(p.allow, rule.asksUnit) || slices.ContainsFunc(p.deny, rule.asksUnit)
}
