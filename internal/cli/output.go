package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// writeJSON prints what a daemon sent: indented, or with raw as it came, on one
// line. On a terminal, and where it is indented, characters that could steer a
// terminal are escaped; the text means the same. Numbers keep all their digits.
func writeJSON(out io.Writer, text json.RawMessage, raw bool) error {
	if raw && !isTerminal(out) {
		_, err := fmt.Fprintf(out, "%s\n", text)
		return err
	}
	var b bytes.Buffer
	var err error
	if raw {
		err = json.Compact(&b, text)
	} else {
		err = json.Indent(&b, text, "", "  ")
	}
	if err != nil {
		return fmt.Errorf("the daemon sent what is not JSON: %w", err)
	}
	_, err = io.WriteString(out, visibleLines(b.String())+"\n")
	return err
}
