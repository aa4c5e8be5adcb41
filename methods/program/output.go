package program

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/marianned/marianned/rpc"
)

// formatOutput makes a result of what a program wrote to stdout. Bytes that are
// no UTF-8 become U+FFFD: JSON has no other text.
func formatOutput(kind string, output []byte) (rpc.RawMessage, error) {
	switch kind {
	case resultLines:
		result := []byte{'['}
		for len(output) > 0 {
			line, rest, _ := bytes.Cut(output, newline)
			if len(result) > 1 {
				result = append(result, ',')
			}
			result, output = appendText(result, line), rest
		}
		return append(result, ']'), nil
	case resultJSON:
		return parseOutput(output)
	}
	return appendText(nil, output), nil
}

var newline = []byte{'\n'}

// parseOutput returns the one JSON value of an output, null for none.
func parseOutput(output []byte) (rpc.RawMessage, error) {
	value := jsontext.Value(bytes.TrimSpace(output))
	if len(value) == 0 {
		return rpc.RawMessage("null"), nil
	}
	if !value.IsValid(jsontext.AllowDuplicateNames(true)) {
		return nil, fmt.Errorf("the output, %d bytes, is no JSON value in UTF-8, which result = \"json\" says it is", len(output))
	}
	return rpc.RawMessage(value), nil
}

// formatLine makes the params of an event of a line of output.
func formatLine(kind string, line []byte) (rpc.RawMessage, error) {
	if kind != resultJSON {
		return append(appendText([]byte(`{"line":`), line), '}'), nil
	}
	value, err := parseOutput(line)
	if err != nil {
		return nil, err
	}
	return append(append([]byte(`{"value":`), value...), '}'), nil
}

func appendText(b, text []byte) []byte {
	b, _ = jsontext.AppendQuote(b, text) // its error says that U+FFFD was used
	return b
}

func validText(text []byte) string { return strings.ToValidUTF8(string(text), "\uFFFD") }

// tail keeps the end of what is written to it.
type tail struct {
	kept  []byte
	total int
}

func (t *tail) write(b []byte) {
	t.total += len(b)
	t.kept = append(t.kept, b[max(0, len(b)-maxStderrBytes):]...)
	if len(t.kept) > 2*maxStderrBytes {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-maxStderrBytes:]...)
	}
}

// text returns at most maxStderrBytes.
func (t *tail) text() []byte { return t.kept[max(0, len(t.kept)-maxStderrBytes):] }
