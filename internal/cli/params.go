package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxParamsBytes bounds what is read from a file or stdin. A daemon takes
// messages of 16 MiB unless it was told otherwise.
const maxParamsBytes = 64 << 20

// member is one name and value of a params object; the value is JSON text.
type member struct {
	name  string
	value json.RawMessage
	plain bool   // written as key=value, a string unless the method says otherwise
	text  string // then, as it was written
}

// parseMembers reads arguments of the forms key=value, whose value is a string,
// and key:=json. The first "=" ends the key. Numbers keep all their digits. Errors
// are usage errors.
func parseMembers(args []string) (members []member, err error) {
	seen := make(map[string]bool)
	for _, arg := range args {
		m, err := parseMember(arg)
		if err != nil {
			return nil, err
		}
		if seen[m.name] {
			return nil, usageErrorf("parameter %q is given twice, expected once: drop one of them", m.name)
		}
		seen[m.name] = true
		members = append(members, m)
	}
	return members, nil
}

// formatMembers returns a JSON object in the order of the members, or nil for
// none.
func formatMembers(members []member) json.RawMessage {
	if len(members) == 0 {
		return nil
	}
	var object bytes.Buffer
	for i, m := range members {
		object.WriteByte("{,"[min(i, 1)])
		object.Write(jsonString(m.name))
		object.WriteByte(':')
		object.Write(m.value)
	}
	object.WriteByte('}')
	return object.Bytes()
}

func parseMember(arg string) (member, error) {
	name, value, ok := strings.Cut(arg, "=")
	if !ok {
		return member{}, usageErrorf("parameter %q has no \"=\", expected key=value for a string or key:=json for any other value", arg)
	}
	name, raw := strings.CutSuffix(name, ":")
	if name == "" {
		return member{}, usageErrorf("parameter %q has no key, expected key=value or key:=json", arg)
	}
	if !utf8.ValidString(arg) {
		return member{}, usageErrorf("parameter %q is not UTF-8, expected UTF-8: JSON has no other text", name)
	}
	if !raw {
		return member{name, jsonString(value), true, value}, nil
	}
	text, err := compactJSON([]byte(value))
	if err != nil {
		return member{}, usageErrorf("parameter %q: %w; for a string write %s=… without the colon", name, err, name)
	}
	return member{name: name, value: text}, nil
}

// jsonString encodes s, which is UTF-8, as a JSON string.
func jsonString(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(fmt.Sprintf("cli: a string does not encode as JSON: %v", err)) // it always does
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// compactJSON checks that text is one JSON value and returns it on one line,
// each number and string as it was written. The error says where it is not.
func compactJSON(text []byte) (json.RawMessage, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("nothing found, expected a JSON value")
	}
	var value json.RawMessage
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, jsonError(text, err)
	}
	if at := invalidUTF8(text); at >= 0 {
		return nil, fmt.Errorf("invalid UTF-8 at %s, expected JSON in UTF-8", position(text, at))
	}
	var line bytes.Buffer
	if err := json.Compact(&line, value); err != nil {
		return nil, jsonError(text, err)
	}
	return line.Bytes(), nil
}

func jsonError(text []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w", err)
	}
	at := int(syntax.Offset) - 1 // Offset counts the offending byte
	if at+1 >= len(text) && strings.Contains(syntax.Error(), "unexpected end") {
		return fmt.Errorf("the JSON text ends too early, after %d bytes", len(text))
	}
	return fmt.Errorf("not JSON at %s: %s", position(text, at), syntax)
}

// position names a byte of text as a person counts: from 1, in characters, with
// the line where there are several.
func position(text []byte, at int) string {
	at = max(0, min(at, len(text)))
	before := text[:at]
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	if !bytes.Contains(bytes.TrimSpace(text), []byte("\n")) {
		return fmt.Sprintf("character %d", column)
	}
	return fmt.Sprintf("line %d, character %d", bytes.Count(before, []byte("\n"))+1, column)
}

func invalidUTF8(text []byte) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

// readParams reads one JSON object or array, or null, from a file, or from
// stdin where path is "-". Errors are usage errors.
func readParams(path string, stdin io.Reader) (json.RawMessage, error) {
	source, name := stdin, "stdin"
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, usageErrorf("--params: %w: name a file with a JSON object or array, or - for stdin", err)
		}
		defer file.Close()
		source, name = file, path
	}
	var read bytes.Buffer
	if _, err := read.ReadFrom(io.LimitReader(source, maxParamsBytes+1)); err != nil {
		return nil, usageErrorf("--params: read %s: %w", name, err)
	}
	text := read.Bytes()
	if len(text) > maxParamsBytes {
		return nil, usageErrorf("--params: %s is larger than %d MiB, which no daemon takes: send less", name, maxParamsBytes>>20)
	}
	params, err := compactJSON(text)
	if err != nil {
		return nil, usageErrorf("--params: %s: %w", name, err)
	}
	if c := params[0]; c != '{' && c != '[' && c != 'n' {
		return nil, usageErrorf("--params: %s holds %s, expected a JSON object or array", name, kindOfJSON(c))
	}
	return params, nil
}

// kindOfJSON names the type of a JSON value by its first byte.
func kindOfJSON(first byte) string {
	switch first {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
