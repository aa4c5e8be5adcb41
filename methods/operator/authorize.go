package operator

import (
	"maps"
	"slices"

	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/methods/policy"
	"github.com/marianned/marianned/rpc"
)

// Authorize decides by the rules of the files, and about methods that they say
// nothing of as methods.Authorize does. It is for rpc.Server.Authorize, and logs
// whom it denies what.
func (s *Set) Authorize(peer *rpc.Peer, m *rpc.Method) error {
	d := s.Decide(peer, m.Name)
	if d.Allowed {
		return nil
	}
	s.denials.report(peer, m.Name, d)
	if d.Hidden {
		return rpc.ErrHidden
	}
	return rpc.Errorf(rpc.CodeNotAuthorized, "not authorised to call %q; membership in a new group counts from the next login on", m.Name)
}

// Visible reports whether a method exists for a peer, for methods.Daemon.Visible.
func (s *Set) Visible(peer *rpc.Peer, m *rpc.Method) bool {
	d := s.Decide(peer, m.Name)
	return d.Allowed || !d.Hidden
}

// Decide says whether a peer may call a method, and why.
func (s *Set) Decide(peer *rpc.Peer, name string) policy.Decision {
	if p := s.policy(name); p != nil {
		return p.Decide(peer)
	}
	if methods.AuthorizeFor(s.owner, peer, &rpc.Method{Name: name}) == nil {
		return policy.Decision{Allowed: true, Why: "no file says otherwise: it is open to the caller by default"}
	}
	return policy.Decision{Hidden: true, Why: "no file says otherwise: it is for root and the daemon's own user"}
}

// Has reports whether a file defines the method, or has rules for it.
func (s *Set) Has(name string) bool { return s.policy(name) != nil }

// Names returns the methods that files define, in their order.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.methods)) }

// policy returns the rules that a file has for a method, or nil.
func (s *Set) policy(name string) *policy.Policy {
	if m := s.methods[name]; m != nil {
		return m.policy
	}
	return s.builtIn[name]
}

// UsesUnits reports whether any rule asks for the unit of a peer.
func (s *Set) UsesUnits() bool {
	for _, m := range s.methods {
		if m.policy.UsesUnits() {
			return true
		}
	}
	for _, p := range s.builtIn {
		if p.UsesUnits() {
			return true
		}
	}
	return false
}
