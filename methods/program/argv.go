package program

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/marianned/marianned/methods/schema"
)

// element is one element of a definition's argv: text and placeholders by turns.
type element []part

type part struct {
	text      string
	parameter string // "": text alone
}

// parseElement reads "--depth={depth}". "{{" and "}}" stand for braces.
func parseElement(text string) (element, error) {
	var e element
	var literal strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '{' && strings.HasPrefix(text[i:], "{{"), c == '}' && strings.HasPrefix(text[i:], "}}"):
			literal.WriteByte(c)
			i++
		case c == '{':
			name, _, found := strings.Cut(text[i+1:], "}")
			if !found || name == "" || strings.Contains(name, "{") {
				return nil, fmt.Errorf("a placeholder begins with \"{\" and does not end: write {name}, or {{ for a brace")
			}
			if literal.Len() > 0 {
				e = append(e, part{text: literal.String()})
				literal.Reset()
			}
			e = append(e, part{parameter: name})
			i += len(name) + 1
		case c == '}':
			return nil, fmt.Errorf("a \"}\" without its \"{\": write }} for a brace")
		case c == 0:
			return nil, fmt.Errorf("a NUL character, which no argument can hold")
		default:
			literal.WriteByte(c)
		}
	}
	if literal.Len() > 0 || len(e) == 0 {
		e = append(e, part{text: literal.String()})
	}
	return e, nil
}

// first returns the parameters whose values an argument can begin with: each may
// be empty, and the next one is at the beginning then.
func (e element) first() (names []string) {
	for _, p := range e {
		if p.parameter == "" {
			break
		}
		names = append(names, p.parameter)
	}
	return names
}

// maxArgumentBytes is MAX_ARG_STRLEN of Linux less the NUL at the end,
// execve(2).
const maxArgumentBytes = 32*4096 - 1

// expand returns the argument for the values; used is false where one of its
// parameters is absent.
func (e element) expand(values map[string]any) (argument string, used bool, err error) {
	var b strings.Builder
	for _, p := range e {
		if p.parameter == "" {
			b.WriteString(p.text)
			continue
		}
		value, found := values[p.parameter]
		if !found {
			return "", false, nil
		}
		text, err := argumentText(value)
		if err == nil && b.Len()+len(text) > maxArgumentBytes {
			err = fmt.Errorf("is too long for an argument: %d bytes, expected at most %d", len(text), maxArgumentBytes-b.Len())
		}
		if err != nil {
			return "", false, schema.Problems{{Path: "/" + p.parameter, Rule: "argument", Message: err.Error()}}
		}
		b.WriteString(text)
	}
	if b.Len() > maxArgumentBytes {
		return "", false, fmt.Errorf("an argument of %d bytes, expected at most %d", b.Len(), maxArgumentBytes)
	}
	return b.String(), true, nil
}

// argumentText returns a value as one argument: a string as it is, numbers and
// booleans as JSON writes them, but for the sign of zero.
func argumentText(value any) (string, error) {
	switch v := value.(type) {
	case string:
		if strings.IndexByte(v, 0) >= 0 {
			return "", fmt.Errorf("holds a NUL character, which no argument can")
		}
		return v, nil
	case json.Number:
		return withoutSignOfZero(v.String()), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "", fmt.Errorf("is null, which is no argument: leave it out")
	}
	return "", fmt.Errorf("is an array or an object, which is no argument")
}

// withoutSignOfZero returns -0, which a schema takes for 0, as 0: where it has
// minimum = 0, or 0 in an enum, nothing is to begin with a dash.
func withoutSignOfZero(number string) string {
	digits, negative := strings.CutPrefix(number, "-")
	if mantissa, _, _ := strings.Cut(strings.ToLower(digits), "e"); negative && strings.Trim(mantissa, "0.") == "" {
		return digits
	}
	return number
}

// argv returns the arguments of a call, the program's path first.
func (p *Program) argv(values map[string]any) ([]string, error) {
	argv := make([]string, 0, len(p.elements)+1)
	argv = append(argv, p.path)
	for _, e := range p.elements {
		argument, used, err := e.expand(values)
		if err != nil {
			return nil, err
		}
		if used {
			argv = append(argv, argument)
		}
	}
	return argv, nil
}
