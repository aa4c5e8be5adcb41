package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/methods/definition"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration",
		Args:  noSubcommand,
		RunE:  missingSubcommand,
	}
	cmd.AddCommand(newConfigShowCommand())
	return cmd
}

func newConfigShowCommand() *cobra.Command {
	var origin, asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print all settings, as a daemon that was started now would have them",
		Long: "Prints all settings, in the form of marianned.toml, as a daemon that was started\n" +
			"here and now would have them: from the files, over them the environment of this\n" +
			"command, and what is set nowhere by default. What a running daemon has is\n" +
			"answered by its method daemon.config.",
		Args: exactArgs(),
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "say of each value where it is from")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON, with the origins")
	options := configFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := options()
		if err != nil {
			return err
		}
		settings, err := config.Load(opts)
		if findings, found := conffile.FindingsOf(err); found {
			return reportFindings(findings)
		} else if err != nil {
			return err
		}
		printFindings(cmd.ErrOrStderr(), settings.Warnings)
		if asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(slices.Collect(settings.All()))
		}
		_, err = io.WriteString(cmd.OutOrStdout(), formatSettings(settings, origin))
		return err
	}
	return cmd
}

// configFlags adds the flags that say which configuration is meant.
func configFlags(cmd *cobra.Command) func() (config.Options, error) {
	file := cmd.Flags().String("config", "", "read this file, in the place of all files of the configuration")
	completeFile(cmd, "config")
	instance := instanceFlags(cmd)
	return func() (config.Options, error) {
		i, err := instance()
		return config.Options{File: *file, Instance: i}, err
	}
}

// instanceFlags adds the flags that say whose configuration is meant.
func instanceFlags(cmd *cobra.Command) func() (config.Instance, error) {
	user := cmd.Flags().Bool("user", false, "that of the calling user's own daemon")
	system := cmd.Flags().Bool("system", false, "that of the system's daemon")
	return func() (config.Instance, error) {
		switch {
		case *user && *system:
			return 0, usageErrorf("%s--user and --system are given, expected one of them", prefix(cmd))
		case *user:
			return config.UserInstance, nil
		case *system:
			return config.SystemInstance, nil
		}
		return config.OwnInstance, nil
	}
}

// methodFolders returns where a daemon finds the files of its methods.
func methodFolders(instance config.Instance) []string {
	if instance.IsUser() {
		return definition.UserFolders()
	}
	return definition.SystemFolders
}

// formatSettings prints what marianned.toml could say. Origins are comments.
func formatSettings(settings *config.Config, origin bool) string {
	var lines, origins []string
	width := 0
	for e := range settings.All() {
		line := visible(e.Name + " = " + e.TOML())
		lines, origins = append(lines, line), append(origins, visible(e.Origin.String()))
		width = max(width, len(line))
	}
	var b strings.Builder
	for i, line := range lines {
		if origin {
			line = fmt.Sprintf("%-*s  # %s", width, line, origins[i])
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
