package schema

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/marianned/marianned/rpc"
)

// Problem is one rule that a value breaks.
type Problem struct {
	// Path leads to the value: a JSON Pointer (RFC 6901) from the root of the
	// params, "" for the params themselves.
	Path string `json:"path"`
	// Rule is the keyword of the schema, or "json" where the text cannot be
	// taken for one value.
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + " " + p.Message
}

// Problems are in the order in which they are best mended. They never hold the
// value itself.
type Problems []Problem

// shownProblems bounds an error reply, however much is wrong.
const shownProblems = 5

func (ps Problems) Error() string {
	var texts []string
	for _, p := range ps[:min(len(ps), shownProblems)] {
		texts = append(texts, p.String())
	}
	if more := len(ps) - shownProblems; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// InvalidParams is the answer to a call whose params have these problems.
func (ps Problems) InvalidParams() *rpc.Error {
	return &rpc.Error{
		Code:    rpc.CodeInvalidParams,
		Message: "invalid params: " + ps.Error(),
		Data: struct {
			Reason string   `json:"reason"`
			Errors Problems `json:"errors"`
		}{"invalid_params", ps[:min(len(ps), shownProblems)]},
	}
}

// flatten returns the rules at the leaves. Of alternatives nobody can say which
// was meant: there the choice itself is the rule.
func flatten(e *jsonschema.ValidationError) (problems Problems) {
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		switch e.ErrorKind.(type) {
		case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains, *kind.PropertyNames:
		default:
			if len(e.Causes) > 0 {
				for _, cause := range e.Causes {
					walk(cause)
				}
				return
			}
		}
		problems = append(problems, describeLeaf(e)...)
	}
	walk(e)
	sortProblems(problems)
	return problems
}

func describeLeaf(e *jsonschema.ValidationError) (problems Problems) {
	at := func(names []string, message string) Problems {
		for _, name := range names {
			path := append(e.InstanceLocation[:len(e.InstanceLocation):len(e.InstanceLocation)], shorten(name))
			problems = append(problems, Problem{point(path), rule(e.ErrorKind), message})
		}
		return problems
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return at(k.Missing, "is missing")
	case *kind.DependentRequired:
		return at(k.Missing, fmt.Sprintf("is missing, which %q needs", k.Prop))
	case *kind.AdditionalProperties:
		return at(k.Properties, "is not known")
	}
	return Problems{{point(e.InstanceLocation), rule(e.ErrorKind), describeKind(e.ErrorKind)}}
}

func rule(k jsonschema.ErrorKind) string {
	if _, false := k.(*kind.FalseSchema); false {
		return "false"
	}
	if path := k.KeywordPath(); len(path) > 0 {
		return path[0]
	}
	return "schema"
}

// describeKind says what was expected. The library's own texts quote the value.
func describeKind(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("is of type %s, expected %s", k.Got, strings.Join(k.Want, " or "))
	case *kind.Enum:
		return "is none of: " + list(k.Want)
	case *kind.Const:
		return "is not " + list([]any{k.Want})
	case *kind.Format:
		return "is no " + k.Want
	case *kind.Pattern:
		return "does not match the pattern " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("has %d characters, expected at least %d", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("has %d characters, expected at most %d", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("has %d items, expected at least %d", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has %d items, expected at most %d", k.Got, k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("has %d members, expected at least %d", k.Got, k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("has %d members, expected at most %d", k.Got, k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("has equal items at %d and %d", k.Duplicates[0], k.Duplicates[1])
	case *kind.Minimum:
		return "is too small, expected at least " + number(k.Want)
	case *kind.Maximum:
		return "is too large, expected at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "is too small, expected more than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "is too large, expected less than " + number(k.Want)
	case *kind.MultipleOf:
		return "is no multiple of " + number(k.Want)
	case *kind.AnyOf:
		return "fits none of the alternatives"
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return "fits more than one of the alternatives"
		}
		return "fits none of the alternatives"
	case *kind.Not:
		return "fits what it must not"
	case *kind.FalseSchema:
		return "is not known"
	}
	return "breaks the rule " + rule(k)
}

func number(n *big.Rat) string {
	if n.IsInt() {
		return n.Num().String()
	}
	f, _ := n.Float64()
	return fmt.Sprint(f)
}

// shownNames bounds how much of a list, and of a name that a client sent, an
// error repeats.
const (
	shownItems = 20
	shownName  = 64
)

func list(values []any) string {
	var texts []string
	for _, v := range values[:min(len(values), shownItems)] {
		switch v.(type) {
		case map[string]any, []any:
			texts = append(texts, "…")
		case string:
			texts = append(texts, fmt.Sprintf("%q", v))
		default:
			texts = append(texts, fmt.Sprint(v))
		}
	}
	if len(values) > shownItems {
		texts = append(texts, "…")
	}
	return strings.Join(texts, ", ")
}

func shorten(name string) string {
	if runes := []rune(name); len(runes) > shownName {
		return string(runes[:shownName]) + "…"
	}
	return name
}
