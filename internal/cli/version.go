package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/version"
)

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and its date, and the Go version",
		Args:  exactArgs(),
	}
	asJSON := cmd.Flags().Bool("json", false, "print one line of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v, out := version.Get(), cmd.OutOrStdout()
		if *asJSON {
			return json.NewEncoder(out).Encode(struct {
				Version string `json:"version"`
				Commit  string `json:"commit"`
				Date    string `json:"date"`
				Go      string `json:"go"`
			}{v.Version, v.Commit, v.Date, v.Go})
		}
		_, err := fmt.Fprintf(out, "marianned %s\ncommit    %s\ndate      %s\ngo        %s\n",
			v.Version, orUnknown(v.Commit), orUnknown(v.Date), v.Go)
		return err
	}
	return cmd
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
