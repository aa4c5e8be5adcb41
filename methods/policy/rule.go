package policy

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/marianned/marianned/internal/suggest"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

// rule is one item of allow or deny.
type rule struct {
	kind  string
	text  string // as it was written
	at    definition.Position
	match func(*rpc.Peer) bool
}

// everyone is the rule that fits each peer.
const everyone = "everyone"

// kinds are what stands before the colon of a rule.
var kinds = []string{"uid", "user", "gid", "group", "unit", "user-unit"}

func (r rule) asksUnit() bool { return r.kind == "unit" || r.kind == "user-unit" }

func parseAll(texts []string, key string, place definition.Place, names Names, owner uint32, findings *definition.Findings) []rule {
	if texts == nil {
		return nil
	}
	rules := make([]rule, 0, len(texts)) // an empty list is one that fits nobody
	for i, text := range texts {
		at := place.At(key, strconv.Itoa(i))
		kind, match, err := parse(text, names, owner)
		if err != nil {
			unknown, isName := err.(*unknownName)
			if !isName {
				findings.Add(at, "%q in %s: %s", text, key, err)
				continue
			}
			// It may be created later. Until the rules are read again, nobody gets
			// in by it, and nobody past it.
			fits := key == "deny"
			match = func(*rpc.Peer) bool { return fits }
			findings.Warn(at, "%q in %s: %s, so that it fits %s until the next reload", text, key, unknown, map[bool]string{true: "everybody", false: "nobody"}[fits])
		}
		r := rule{kind, text, at, match}
		if known := match; key == "deny" && r.asksUnit() {
			// Who can hide in which unit it runs does not get past a rule about it.
			r.match = func(peer *rpc.Peer) bool { return peer.UnitUnknown || known(peer) }
		}
		rules = append(rules, r)
	}
	return rules
}

// parse reads one rule: "group:adm", "uid:1000-1999", "everyone".
func parse(text string, names Names, owner uint32) (kind string, match func(*rpc.Peer) bool, err error) {
	if text == everyone {
		return everyone, func(*rpc.Peer) bool { return true }, nil
	}
	kind, value, found := strings.Cut(text, ":")
	if !found || value == "" {
		return kind, nil, fmt.Errorf("expected KIND:VALUE such as \"group:adm\", or %q", everyone)
	}
	switch kind {
	case "uid":
		match, err = parseRange(value, func(peer *rpc.Peer, in func(uint32) bool) bool { return in(peer.UID) })
	case "gid":
		match, err = parseRange(value, func(peer *rpc.Peer, in func(uint32) bool) bool {
			for _, gid := range peer.Groups {
				if in(gid) {
					return true
				}
			}
			return in(peer.GID)
		})
	case "user":
		uid, err := names.User(value)
		return kind, func(peer *rpc.Peer) bool { return peer.UID == uid }, asUnknown(err)
	case "group":
		gid, err := names.Group(value)
		return kind, func(peer *rpc.Peer) bool { return peer.InGroup(gid) }, asUnknown(err)
	case "unit":
		match, err = parseUnit(value, func(peer *rpc.Peer) string { return peer.Unit })
	case "user-unit":
		// Anybody names the units of a service manager of their own.
		match, err = parseUnit(value, func(peer *rpc.Peer) string {
			if peer.UID != owner {
				return ""
			}
			return peer.UserUnit
		})
	default:
		hint := "expected one of: " + strings.Join(kinds, ", ")
		if meant := suggest.Nearest(kind, kinds); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
		err = fmt.Errorf("unknown kind %q; %s", kind, hint)
	}
	return kind, match, err
}

type unknownName struct{ cause error }

func (u *unknownName) Error() string { return u.cause.Error() }

func asUnknown(err error) error {
	if err == nil {
		return nil
	}
	return &unknownName{err}
}

// parseRange reads "1000" or "1000-1999".
func parseRange(value string, any func(*rpc.Peer, func(uint32) bool) bool) (func(*rpc.Peer) bool, error) {
	from, to, isRange := strings.Cut(value, "-")
	low, err := parseID(from)
	if err != nil {
		return nil, err
	}
	high := low
	if isRange {
		if high, err = parseID(to); err != nil {
			return nil, err
		}
	}
	if high < low {
		return nil, fmt.Errorf("the range ends before it begins")
	}
	in := func(id uint32) bool { return low <= id && id <= high }
	return func(peer *rpc.Peer) bool { return any(peer, in) }, nil
}

func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == math.MaxUint32 { // which means "none" to the kernel
		return 0, fmt.Errorf("found %q, expected a number from 0 to %d, or a range such as 1000-1999", text, uint32(math.MaxUint32-1))
	}
	return uint32(id), nil
}

// unitSuffixes are those of units that processes run in.
var unitSuffixes = []string{".service", ".scope"}

// parseUnit reads the name of a unit, in which "*" stands for any characters:
// "backup@*.service".
func parseUnit(value string, unitOf func(*rpc.Peer) string) (func(*rpc.Peer) bool, error) {
	if s := path.Ext(value); s != unitSuffixes[0] && s != unitSuffixes[1] {
		return nil, fmt.Errorf("expected the name of a unit that ends in %s", strings.Join(unitSuffixes, " or "))
	}
	if strings.ContainsAny(value, "/?[ ") {
		return nil, fmt.Errorf("expected the name of a unit; of wildcards there is \"*\" alone")
	}
	parts := strings.Split(value, "*")
	return func(peer *rpc.Peer) bool { return fits(unitOf(peer), parts) }, nil
}

// fits matches a name with the texts between wildcards. A peer without a unit
// fits nothing.
func fits(name string, parts []string) bool {
	if len(parts) == 1 {
		return name != "" && name == parts[0]
	}
	head, tail := parts[0], parts[len(parts)-1]
	if len(name) < len(head)+len(tail) || !strings.HasPrefix(name, head) || !strings.HasSuffix(name, tail) {
		return false
	}
	name = name[len(head) : len(name)-len(tail)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return true
}
