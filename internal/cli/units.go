package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/units"
)

func newUnitsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "units",
		Short: "Print or install the systemd units",
		Args:  noSubcommand,
		RunE:  missingSubcommand,
	}
	cmd.AddCommand(newUnitsPrintCommand(), newUnitsInstallCommand())
	return cmd
}

func scopeFlag(cmd *cobra.Command) func() units.Scope {
	user := cmd.Flags().Bool("user", false, "the calling user's service manager, instead of the system's")
	return func() units.Scope {
		if *user {
			return units.User
		}
		return units.System
	}
}

func newUnitsPrintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the units that install would write, each below its path",
		Args:  exactArgs(),
	}
	scope := scopeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		binary, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the path of this program: %w", err)
		}
		files, err := units.Files(scope(), units.Params{Binary: binary})
		if err != nil {
			// What the units say can be read all the same.
			fmt.Fprintf(cmd.ErrOrStderr(), "marianned: %s; these units are for %s\n", visible(err.Error()), units.DefaultBinary)
			if files, err = units.Files(scope(), units.Params{}); err != nil {
				return err
			}
		}
		return printUnits(cmd.OutOrStdout(), files)
	}
	return cmd
}

// printUnits is like systemctl cat: the output of several files is told apart
// by their paths.
func printUnits(out io.Writer, files []units.File) error {
	for i, file := range files {
		if i > 0 {
			if _, err := io.WriteString(out, "\n"); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(out, "# %s\n%s", file.Path, file.Content); err != nil {
			return err
		}
	}
	return nil
}

func newUnitsInstallCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Write the units for this program, and say what to run next",
		Long: "Writes the systemd units with the path of this program in them: the system's to\n" +
			"/etc/systemd/system and /etc/sysusers.d, which needs root, or with --user the\n" +
			"user's own. Starts nothing. A file that is there and differs is left alone, and\n" +
			"nothing is written then.",
		Args: exactArgs(),
	}
	scope := scopeFlag(cmd)
	force := cmd.Flags().Bool("force", false, "replace files that differ")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		binary, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the path of this program: %w", err)
		}
		return installUnits(cmd.OutOrStdout(), scope(), units.Params{Binary: binary}, units.Options{Force: *force})
	}
	return cmd
}

func installUnits(out io.Writer, scope units.Scope, params units.Params, opts units.Options) error {
	result, err := units.Install(scope, params, opts, func(file units.File, action units.Action) {
		fmt.Fprintf(out, "%-11s %s\n", action, file.Path)
	})
	if err != nil {
		return installError(err)
	}
	if len(result.Next) == 0 {
		return nil
	}
	fmt.Fprintln(out, "\nRun next:")
	for _, command := range result.Next {
		fmt.Fprintf(out, "  %s\n", command)
	}
	if scope == units.System {
		fmt.Fprintln(out, "Who is in the group marianned, from the next login on, may connect:\n  usermod -aG marianned NAME")
	}
	return nil
}
