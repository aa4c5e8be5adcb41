package cli

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/internal/daemon"
	"github.com/marianned/marianned/internal/version"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/rpc"
)

var logLevels = []string{"error", "warning", "info", "debug"}

// serveOptions are the flags that daemon.Config does not have in their form.
type serveOptions struct {
	config   daemon.Config
	mode     string
	logLevel string
}

func newServeCommand() *cobra.Command {
	opts := serveOptions{config: daemon.Config{
		Limits:       rpc.DefaultLimits(),
		DrainTimeout: daemon.DefaultDrainTimeout,
		IdleExit:     daemon.DefaultIdleExit,
		Version:      version.Get().Version,
	}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: "Serves JSON-RPC 2.0 on the sockets that the service manager passed (LISTEN_FDS),\n" +
			"else on one that it binds itself: --socket, else $MARIANNED_SOCKET, else\n" +
			config.SystemSocket + " as root and\n" +
			"$XDG_RUNTIME_DIR/marianned/marianned.sock otherwise. Logs go to stderr.\n\n" +
			"SIGTERM and SIGINT stop it: running calls may end within the drain timeout. A\n" +
			"second one stops it at once. Both end in exit code 0, and so does an idle exit.\n\n" +
			"Exit codes: 0 stopped, 64 usage, 70 internal, 73 cannot create the socket, 75\n" +
			"already running, 77 not permitted, 78 configuration.",
		Args: exactArgs(),
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.config.Socket, "socket", "", "path of the socket to bind, where none is inherited")
	flags.StringVar(&opts.mode, "mode", fmt.Sprintf("%04o", activation.DefaultMode), "mode of a socket that is bound, in octal")
	flags.StringVar(&opts.config.Group, "group", "", "group of a socket that is bound: a name or a number")
	flags.DurationVar(&opts.config.IdleExit, "idle-exit", opts.config.IdleExit,
		fmt.Sprintf("exit after so long without a connection, where the socket is inherited; at least %s, or 0 for never", daemon.MinIdleExit))
	flags.DurationVar(&opts.config.DrainTimeout, "drain-timeout", opts.config.DrainTimeout, "how long running calls may take to end at a stop; 0 cuts them off at once")
	flags.StringVar(&opts.logLevel, "log-level", "info", "how much to log: "+strings.Join(logLevels, ", "))
	flags.StringArrayVar(&opts.config.MethodFolders, "methods", nil,
		"folder of method files, in place of "+strings.Join(definition.SystemFolders, ", ")+" or a user's own; may be given several times, the first wins")
	completeFile(cmd, "socket")
	completeFile(cmd, "methods")
	completeWords(cmd, "log-level", logLevels...)
	for _, s := range config.LimitSettings {
		if count, duration := s.In(&opts.config.Limits); count != nil {
			flags.IntVar(count, s.Flag, *count, s.Usage)
		} else {
			flags.DurationVar(duration, s.Flag, *duration, s.Usage)
		}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := opts.check(cmd); err != nil {
			daemon.ReportFailure(err)
			return serveError(cmd, err)
		}
		cfg := opts.config
		cfg.Socket = config.AskedSocket(cfg.Socket)
		if cfg.MethodFolders == nil {
			cfg.MethodFolders = definition.DefaultFolders()
		}
		level, err := logrus.ParseLevel(opts.logLevel)
		if err != nil {
			return err
		}
		cfg.Logger = daemon.NewLogger(cmd.ErrOrStderr(), level)
		return serveError(cmd, daemon.Run(cmd.Context(), cfg))
	}
	return cmd
}

// check refuses flags that mean nothing. Errors are usage errors.
func (o *serveOptions) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("socket") && o.config.Socket == "" {
		return usageErrorf("--socket is empty, expected an absolute path")
	}
	for _, folder := range o.config.MethodFolders {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			return usageErrorf("--methods is %q, expected a folder that is there", folder)
		}
	}
	if cmd.Flags().Changed("mode") {
		mode, err := strconv.ParseUint(o.mode, 8, 32)
		if err != nil || mode == 0 || fs.FileMode(mode)&^fs.ModePerm != 0 {
			return usageErrorf("--mode is %q, expected permission bits in octal, such as %04o", o.mode, activation.DefaultMode)
		}
		o.config.Mode = fs.FileMode(mode)
	}
	if !slices.Contains(logLevels, o.logLevel) {
		return usageErrorf("--log-level is %q, expected one of: %s", o.logLevel, strings.Join(logLevels, ", "))
	}
	for _, s := range config.LimitSettings {
		// To rpc 0 means the default; here somebody may have meant "none".
		if count, duration := s.In(&o.config.Limits); count != nil && *count <= 0 {
			return usageErrorf("--%s is %d, expected at least 1: nothing is unbounded", s.Flag, *count)
		} else if duration != nil && *duration <= 0 {
			return usageErrorf("--%s is %s, expected a duration like 30s: nothing is unbounded", s.Flag, *duration)
		}
	}
	if err := o.config.Validate(); err != nil {
		return usageErrorf("%s: %w", cmd.CommandPath(), err)
	}
	return nil
}

// serveError gives an error for the journal its priority.
func serveError(cmd *cobra.Command, err error) error {
	if err == nil || !daemon.IsJournal(cmd.ErrOrStderr()) {
		return err
	}
	line := strings.Join(strings.Fields(visibleLines(err.Error())), " ")
	return &reportedError{report: fmt.Sprintf("<%d>%s\n", daemon.Priority(logrus.ErrorLevel), line), err: err}
}
