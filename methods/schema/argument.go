package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp/syntax"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// resolved follows references of which nothing else is asked.
func resolved(s *jsonschema.Schema) *jsonschema.Schema {
	for range 10 {
		if s.Ref == nil || s.Types != nil || s.Enum != nil || s.Const != nil {
			break
		}
		s = s.Ref
	}
	return s
}

// scalars are the types of JSON that can stand in an argument.
var scalars = []string{"string", "integer", "number", "boolean"}

// CheckScalar reports why a value may not be able to stand in an argument of a
// program; nil if each can. The schema must say so by its type, enum or const.
func (p *Parameter) CheckScalar() error {
	s := resolved(p.compiled)
	switch {
	case s.Const != nil:
		return checkScalars([]any{*s.Const})
	case s.Enum != nil:
		return checkScalars(s.Enum.Values)
	case s.Types == nil || s.Types.IsEmpty():
		return fmt.Errorf("its schema names no type, expected one of string, integer, number and boolean")
	}
	for _, t := range s.Types.ToStrings() {
		if !slices.Contains(scalars, t) {
			return fmt.Errorf("it can be of type %s, expected string, integer, number or boolean: others reach a program by stdin = \"params\" alone", t)
		}
	}
	return nil
}

func checkScalars(values []any) error {
	for _, v := range values {
		switch v.(type) {
		case string, bool, json.Number:
		default:
			return fmt.Errorf("it can be null, an array or an object, expected a string, a number or a boolean: others reach a program by stdin = \"params\" alone")
		}
	}
	return nil
}

// MayBeginWithDash reports whether a value, as an argument, could be taken for
// an option. It may say yes for a schema that excludes it in a roundabout way.
func (p *Parameter) MayBeginWithDash() bool {
	s := resolved(p.compiled)
	switch {
	case s.Const != nil:
		return beginsWithDash(*s.Const)
	case s.Enum != nil:
		return slices.ContainsFunc(s.Enum.Values, beginsWithDash)
	case s.Types == nil:
		return true
	}
	for _, t := range s.Types.ToStrings() {
		switch t {
		case "boolean":
		case "integer", "number":
			zero := new(big.Rat)
			if !(s.Minimum != nil && s.Minimum.Cmp(zero) >= 0 || s.ExclusiveMinimum != nil && s.ExclusiveMinimum.Cmp(zero) >= 0) {
				return true
			}
		case "string":
			if s.Format != nil && slices.Contains(dashless, s.Format.Name) {
				continue
			}
			if s.Pattern == nil || matchesDash(s.Pattern.String()) {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// dashless are formats whose values never begin with a dash.
var dashless = []string{"ipv4", "ipv6", "uuid", "date", "date-time", "time", "uri", "duration", "hostname"}

func beginsWithDash(value any) bool {
	switch v := value.(type) {
	case string:
		return len(v) > 0 && v[0] == '-'
	case json.Number:
		return v[0] == '-'
	}
	return false
}

// matchesDash reports whether a text that begins with "-" may match the pattern:
// it takes one step of the automaton, from the beginning of a text over the
// dash, and looks whether anything is left that could match.
func matchesDash(pattern string) bool {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return true
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return true
	}
	// What a match can stand on: it may begin before the dash, or after it.
	before := closure(prog, uint32(prog.Start), syntax.EmptyOpContext(-1, '-'))
	for _, pc := range before {
		inst := &prog.Inst[pc]
		if inst.Op == syntax.InstMatch {
			return true
		}
		if isRune(inst.Op) && inst.MatchRune('-') && alive(prog, inst.Out, behindDash) {
			return true
		}
	}
	return alive(prog, uint32(prog.Start), behindDash|syntax.EmptyBeginLine)
}

// behindDash is what can be true of a place right behind the dash. Of one
// further on, the beginning of a line can be, too.
const behindDash = syntax.EmptyEndLine | syntax.EmptyEndText | syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary

// alive reports whether from start on anything can match.
func alive(prog *syntax.Prog, start uint32, flags syntax.EmptyOp) bool {
	for _, pc := range closure(prog, start, flags) {
		if op := prog.Inst[pc].Op; op == syntax.InstMatch || isRune(op) {
			return true
		}
	}
	return false
}

func isRune(op syntax.InstOp) bool {
	switch op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	}
	return false
}

// closure returns the instructions that are reached from start without taking a
// rune, where the assertions of flags hold.
func closure(prog *syntax.Prog, start uint32, flags syntax.EmptyOp) (reached []uint32) {
	seen := make(map[uint32]bool)
	stack := []uint32{start}
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		reached = append(reached, pc)
		switch inst := &prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^flags == 0 {
				stack = append(stack, inst.Out)
			}
		}
	}
	return reached
}
