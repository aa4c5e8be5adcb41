package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/rpc"
)

const reloadMethod = "daemon.reload"

func newReloadCommand() *cobra.Command {
	var opts clientOptions
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its files anew",
		Long: "Has the daemon read its configuration and the files of its methods anew, all of\n" +
			"them or, where one has a mistake, none, and waits for that. No connection, call\n" +
			"or stream is dropped. For root and the daemon's own user.\n\n" +
			"Exit codes: 0 reloaded, 78 a mistake in the files, which is printed with its\n" +
			"place, 1 not reloaded for another reason, 69 cannot connect.",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := opts.ask(cmd, reloadMethod)
			if err != nil {
				return opts.reloadError(err)
			}
			out := cmd.OutOrStdout()
			if opts.json {
				return writeJSON(out, result, true)
			}
			text, err := formatReloaded(result, newPalette(out, os.Getenv))
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

// reloadError shows what is wrong with the files, a line each.
func (o *clientOptions) reloadError(err error) error {
	var answer *rpc.Error
	if !errors.As(err, &answer) || answer.Code != methods.CodeReloadFailed {
		return err
	}
	coded := withCode(exitConfig, answer)
	if o.json {
		return &reportedError{report: errorObject(answer) + "\n", err: coded}
	}
	var data methods.ReloadFailure
	if err := json.Unmarshal(errorData(answer), &data); err != nil {
		return withCode(exitConfig, answer)
	}
	return &explainedError{text: "reload: nothing has changed:\n" + strings.Join(data.Findings, "\n"), err: coded}
}

func formatReloaded(result json.RawMessage, colours palette) (string, error) {
	var r methods.Reloaded
	if err := json.Unmarshal(result, &r); err != nil {
		return "", fmt.Errorf("the daemon's answer to %s: %w; `marianned call %s` shows it", reloadMethod, err, reloadMethod)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "reloaded: %d files, %d methods\n", len(r.Files), r.Methods)
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, colours.dim(visible(w)))
	}
	return b.String(), nil
}
