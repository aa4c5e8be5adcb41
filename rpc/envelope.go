package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// envelope is the outer object of a request, read in one pass. Its slices point
// into the frame.
type envelope struct {
	id     []byte // raw JSON; nil for a notification
	method []byte // decoded
	params []byte // raw JSON; nil if absent or null
	// invalid is why the object is no request (JSON-RPC 2.0, section 4); then
	// id is only set where it could be told.
	invalid string
}

// maxID is the longest id, in bytes of JSON text. An id comes back in the reply,
// whatever that is: long ones would make every refusal a large reply.
const maxID = 4 << 10

// The members of a request that may stand in it once.
const (
	seenVersion = 1 << iota
	seenID
	seenMethod
	seenParams
)

// parseEnvelope reads one request object into env, which is zero. A syntax
// error anywhere in b wins over everything that is wrong with the request.
func parseEnvelope(b []byte, env *envelope) *syntaxError {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		end, err := skipValue(b, i, 0)
		if err == nil {
			err = trailing(b, end)
		}
		env.reject("the request is not an object")
		return err
	}
	var err *syntaxError
	i = skipSpace(b, i+1)
	seen := 0
	if i < len(b) && b[i] == '}' {
		i++
	} else {
		for more := true; more; {
			next := env.usual(b, i, &seen)
			if next < 0 {
				if next, err = env.any(b, i, &seen); err != nil {
					return err
				}
			}
			if i, more, err = nextMember(b, next); err != nil {
				return err
			}
		}
	}
	if i < len(b) {
		if err := trailing(b, i); err != nil {
			return err
		}
	}
	if seen&(seenVersion|seenMethod) != seenVersion|seenMethod {
		env.missing(seen)
	}
	return nil
}

func (env *envelope) missing(seen int) {
	if seen&seenVersion == 0 {
		env.reject(`"jsonrpc" is missing, expected "2.0"`)
	}
	if seen&seenMethod == 0 {
		env.reject(`"method" is missing`)
	}
}

// nextMember takes the comma or the closing brace behind a member.
func nextMember(b []byte, i int) (next int, more bool, err *syntaxError) {
	if i < len(b) && b[i] == ',' {
		return i + 1, true, nil
	}
	if i = skipSpace(b, i); i >= len(b) {
		return i, false, syntax(i, unexpectedEnd)
	}
	if b[i] != ',' && b[i] != '}' {
		return i, false, syntax(i, "expected a comma or the end of the object")
	}
	return i + 1, b[i] == ',', nil
}

// any reads the member at b[i], whatever it is, and returns the index behind
// it.
func (env *envelope) any(b []byte, i int, seen *int) (int, *syntaxError) {
	name, i, err := scanName(b, i)
	if err != nil {
		return i, err
	}
	start := skipSpace(b, i)
	if i, err = skipValue(b, start, 1); err != nil {
		return i, err
	}
	env.member(unquote(name), b[start:i], seen)
	return i, nil
}

// usual is any for members as nearly every client writes them: one of the four,
// for the first time, without white space or escapes in name and value. It
// returns -1 for all others, and takes nothing in then.
func (env *envelope) usual(b []byte, i int, seen *int) int {
	rest := b[i:]
	if len(rest) < len(`"id":1}`) {
		return -1
	}
	switch {
	case rest[1] == 'j' && *seen&seenVersion == 0 && len(rest) >= 15 && string(rest[:15]) == `"jsonrpc":"2.0"`:
		*seen |= seenVersion
		return i + 15

	case rest[1] == 'm' && *seen&seenMethod == 0 && len(rest) >= 10 && string(rest[:10]) == `"method":"`:
		end := 10
		for end < len(rest) && plain[rest[end]] {
			end++
		}
		if end == len(rest) || rest[end] != '"' {
			return -1
		}
		*seen |= seenMethod
		env.method = rest[10:end]
		return i + end + 1

	case rest[1] == 'i' && *seen&seenID == 0 && string(rest[:5]) == `"id":`:
		end := 5
		for end < len(rest) && '0' <= rest[end] && rest[end] <= '9' {
			end++
		}
		// Numbers in another form, and those that end the text, are read with
		// more care.
		if end == 5 || end == len(rest) || end > maxID || rest[5] == '0' || (rest[end] != ',' && rest[end] != '}') {
			return -1
		}
		*seen |= seenID
		env.id = rest[5:end]
		return i + end

	case rest[1] == 'p' && *seen&seenParams == 0 && len(rest) >= 10 && string(rest[:10]) == `"params":{`:
		end, err := skipValue(b, i+9, 1)
		if err != nil {
			return -1 // found once more, and reported
		}
		*seen |= seenParams
		env.params = b[i+9 : end]
		return end
	}
	return -1
}

// plain are the bytes of the names that methods usually have.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '/' || c == '-'
	}
	return t
}()

func trailing(b []byte, i int) *syntaxError {
	if i = skipSpace(b, i); i < len(b) {
		return syntax(i, "unexpected text behind the value")
	}
	return nil
}

// reject keeps the first reason.
func (env *envelope) reject(why string) {
	if env.invalid == "" {
		env.invalid = why
	}
}

// member takes in one member; names compare by exact case, unknown ones are
// ignored.
func (env *envelope) member(name, value []byte, seen *int) {
	var bit int
	switch string(name) {
	case "jsonrpc":
		bit = seenVersion
		if value[0] != '"' || string(unquote(value)) != "2.0" {
			env.reject(fmt.Sprintf(`"jsonrpc" is %s, expected "2.0"`, excerpt(value)))
		}
	case "id":
		bit = seenID
		switch c := value[0]; {
		case *seen&seenID != 0 || c == 'n':
			env.id = nil
		case len(value) > maxID:
			env.reject(fmt.Sprintf(`"id" has %d bytes, expected at most %d`, len(value), maxID))
		case c == '"' || c == '-' || ('0' <= c && c <= '9'):
			env.id = value
		default:
			env.reject(fmt.Sprintf(`"id" is %s, expected a string, a number or null`, excerpt(value)))
		}
	case "method":
		bit = seenMethod
		if value[0] != '"' {
			env.reject(fmt.Sprintf(`"method" is %s, expected a string`, excerpt(value)))
		} else {
			env.method = unquote(value)
		}
	case "params":
		bit = seenParams
		switch value[0] {
		case '{', '[':
			env.params = value
		case 'n':
			env.params = nil
		default:
			env.reject(fmt.Sprintf(`"params" is %s, expected an object, an array or null`, excerpt(value)))
		}
	default:
		return
	}
	if *seen&bit != 0 {
		if env.invalid == "" { // there may be very many of them
			env.reject(fmt.Sprintf("%q stands in the request twice", name))
		}
		if bit == seenID {
			env.id = nil
		}
	}
	*seen |= bit
}

// excerpt shortens a value for an error message.
func excerpt(value []byte) string {
	const shown = 40
	if len(value) <= shown {
		return string(value)
	}
	return string(bytes.ToValidUTF8(value[:shown], nil)) + "…"
}

// unquote decodes a JSON string that has been checked. It allocates only where
// there is an escape. Values that are no strings come back as they are.
func unquote(s []byte) []byte {
	if s[0] != '"' || bytes.IndexByte(s, '\\') < 0 {
		return bytes.Trim(s, `"`)
	}
	var out string
	if err := json.Unmarshal(s, &out); err != nil {
		panic(fmt.Sprintf("rpc: %v in a string that was found to be valid: %q", err, s))
	}
	return []byte(out)
}

// sameID reports whether two ids are equal: by their bytes, and for strings
// with escapes by what they say, so that a client may spell an id differently
// when it cancels. Numbers are not compared by value: 1 and 1.0 are two ids.
func sameID(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || a[0] != '"' || b[0] != '"' {
		return false
	}
	if bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return false
	}
	return bytes.Equal(unquote(a), unquote(b))
}

// splitArray returns the elements of an array; beyond max it only counts them.
// The array is checked as a whole.
func splitArray(b []byte, max int) (elements [][]byte, count int, err *syntaxError) {
	i := skipSpace(b, 0) + 1 // the opening bracket
	if i = skipSpace(b, i); i < len(b) && b[i] == ']' {
		return nil, 0, trailing(b, i+1)
	}
	for {
		start := skipSpace(b, i)
		if i, err = skipValue(b, start, 1); err != nil {
			return nil, 0, err
		}
		if count++; count <= max {
			elements = append(elements, b[start:i])
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return nil, 0, syntax(i, unexpectedEnd)
		}
		c := b[i]
		i++
		if c == ']' {
			return elements, count, trailing(b, i)
		}
		if c != ',' {
			return nil, 0, syntax(i-1, "expected a comma or the end of the array")
		}
	}
}

// nameParams makes an object of an array of params: names in the order of the
// method's declaration. Fewer elements than names are allowed; the schema or
// the handler knows what is required.
func nameParams(params []byte, names []string) ([]byte, *Error) {
	elements, count, err := splitArray(params, len(names))
	if err != nil {
		panic(fmt.Sprintf("rpc: %v in params that were found to be valid", err))
	}
	if count > len(names) {
		return nil, Errorf(CodeInvalidParams, "invalid params: the array has %d elements, the method takes at most %d: %v", count, len(names), names)
	}
	out := make([]byte, 0, len(params)+16*count)
	out = append(out, '{')
	for i, e := range elements {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendString(out, names[i])
		out = append(out, ':')
		out = append(out, e...)
	}
	return append(out, '}'), nil
}

// appendString appends s as a JSON string.
func appendString(out []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // json.Marshal replaces what a string can not hold
	}
	return append(out, quoted...)
}
