package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/suggest"
	"github.com/marianned/marianned/internal/version"
)

// Main runs the command line args, without the program's name, and returns the
// exit code. Results go to stdout, and errors, each of which says what to do
// next, to stderr. It is meant to be called once by a process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := &checkedWriter{w: stdout}
	root := newRoot(args)
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil && out.err != nil {
		err = fmt.Errorf("write the output: %w", out.err)
	}
	if err != nil {
		printError(stderr, err)
	}
	return ExitCode(err)
}

// newRoot builds the tree of commands. args are what it will be run with: cobra
// reports an unknown flag of an unknown command before the command.
func newRoot(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "marianned",
		Short: "A local JSON-RPC daemon, and its client",
		Long: "marianned serves JSON-RPC 2.0 on a Unix socket, bound by itself or inherited from\n" +
			"the service manager, and calls the methods that it serves.",
		Version:       version.Get().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSubcommand,
		RunE:          missingSubcommand,
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetVersionTemplate("marianned {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			return unknownCommand(root, args[0])
		}
		return usageErrorf("%s%w; `%s --help` lists the flags", prefix(cmd), err, cmd.CommandPath())
	})
	root.AddCommand(
		newServeCommand(),
		newCallCommand(),
		newMethodsCommand(),
		newDescribeCommand(),
		newStatusCommand(),
		newConfigCommand(),
		newCheckCommand(),
		newReloadCommand(),
		newExplainCommand(),
		newUnitsCommand(),
		newDemoCommand(),
		newActivateCommand(),
		newExecMethodCommand(),
		newVersionCommand(),
	)
	root.SetHelpCommand(newHelpCommand(root))
	return root
}

// prefix begins an error about cmd; the name of the program is printed before
// every error.
func prefix(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return ""
	}
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	return path + ": "
}

// noSubcommand refuses arguments of a command that only has subcommands.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return nil
}

func missingSubcommand(cmd *cobra.Command, _ []string) error {
	_, _ = io.WriteString(cmd.ErrOrStderr(), cmd.UsageString())
	return usageErrorf("%sno command given, expected one of the above", prefix(cmd))
}

func unknownCommand(parent *cobra.Command, name string) error {
	var names []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := ""
	if meant := suggest.Nearest(name, names); meant != "" {
		hint = fmt.Sprintf("did you mean %q? ", meant)
	}
	return usageErrorf("unknown command %q for %q; %s`%s --help` lists the commands", name, parent.CommandPath(), hint, parent.CommandPath())
}

// newHelpCommand is cobra's, which answers an unknown topic with exit code 0.
func newHelpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				if about == nil {
					about = root
				}
				return unknownCommand(about, strings.Join(rest, " "))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// exactArgs is cobra.ExactArgs with errors that say what is expected.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageErrorf("%s%s is missing, expected `%s`", prefix(cmd), names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return usageErrorf("%sunexpected argument %q, expected `%s`", prefix(cmd), args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// printError writes "marianned: <error>". What a daemon, a file or an argument
// contributed to the text cannot steer the terminal; it may have several lines.
func printError(stderr io.Writer, err error) {
	var reported *reportedError
	if errors.As(err, &reported) {
		_, _ = io.WriteString(stderr, reported.report)
		return
	}
	colours := newPalette(stderr, os.Getenv)
	_, _ = fmt.Fprintf(stderr, "%s %s\n", colours.red("marianned:"), visibleLines(err.Error()))
}

// reportedError is printed in a form of its own.
type reportedError struct {
	report string // with its line feed, fit for a terminal
	err    error
}

func (e *reportedError) Error() string { return e.err.Error() }
func (e *reportedError) Unwrap() error { return e.err }

// checkedWriter remembers the first failure: an output that is cut short must
// not end in exit code 0.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}
