package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

const (
	discoverMethod = "rpc.discover"
	statusMethod   = "daemon.status"
)

func newStatusCommand() *cobra.Command {
	var opts clientOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the daemon is doing",
		Long: "Shows how the daemon is doing. Exit code 69 when none answers; asking starts a\n" +
			"daemon that its socket can start.",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := opts.ask(cmd, statusMethod)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if opts.json {
				return writeJSON(out, result, true)
			}
			text, err := formatStatus(result, newPalette(out, os.Getenv))
			if err != nil {
				return err
			}
			_, err = io.WriteString(out, text)
			return err
		},
	}
	opts.register(cmd)
	return cmd
}

// formatStatus shows each member of a status on a line of its own, and those of
// an object in it below its name, in the order in which the daemon sent them: it
// may know more than this program.
func formatStatus(result json.RawMessage, colours palette) (string, error) {
	members, err := objectMembers(result)
	if err != nil {
		return "", fmt.Errorf("the daemon's answer to %s: %w; `marianned call %s` shows it", statusMethod, err, statusMethod)
	}
	var b strings.Builder
	writeStatus(&b, members, "", colours)
	return b.String(), nil
}

func writeStatus(b *strings.Builder, members []member, indent string, colours palette) {
	labels := make([]string, len(members))
	width := 0
	for i, m := range members {
		name := m.name
		if isSeconds(m) {
			name = strings.TrimSuffix(name, secondsSuffix)
		}
		labels[i] = visible(strings.ReplaceAll(name, "_", " "))
		width = max(width, utf8.RuneCountInString(labels[i]))
	}
	for i, m := range members {
		b.WriteString(indent + colours.dim(labels[i]))
		if nested, err := objectMembers(m.value); err == nil && len(nested) > 0 && indent == "" {
			b.WriteByte('\n')
			writeStatus(b, nested, "  ", colours)
			continue
		}
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(labels[i]))
		b.WriteString(pad + "  " + formatStatusValue(m) + "\n")
	}
}

const secondsSuffix = "_seconds"

func isSeconds(m member) bool {
	_, err := strconv.ParseFloat(string(m.value), 64)
	return err == nil && strings.HasSuffix(m.name, secondsSuffix)
}

func formatStatusValue(m member) string {
	var text string
	switch {
	case m.value[0] == '"' && json.Unmarshal(m.value, &text) == nil:
		return visible(text)
	case isSeconds(m):
		if d, err := time.ParseDuration(string(m.value) + "s"); err == nil {
			return d.Round(time.Millisecond).String()
		}
	case string(m.value) == "{}", string(m.value) == "[]":
		return "none"
	}
	return visible(string(m.value))
}
