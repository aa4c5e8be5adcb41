package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/internal/daemon"
	"github.com/marianned/marianned/internal/version"
	"github.com/marianned/marianned/methods/definition"
)

func newServeCommand() *cobra.Command {
	var file string
	var methods []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: "Serves JSON-RPC 2.0 on the sockets that the service manager passed (LISTEN_FDS),\n" +
			"else on one that it binds itself: --socket, else $MARIANNED_SOCKET, else\n" +
			config.SystemSocket + " as root and\n" +
			"$XDG_RUNTIME_DIR/marianned/marianned.sock otherwise. Logs go to stderr.\n\n" +
			"Each setting is a flag, else a variable like $MARIANNED_LOG_LEVEL, else a key in\n" +
			"marianned.toml or conf.d/*.toml, in /etc/marianned or, for a user's own daemon,\n" +
			"in $XDG_CONFIG_HOME/marianned. `marianned config show --origin` tells which.\n\n" +
			"SIGTERM and SIGINT stop it: running calls may end within the drain timeout. A\n" +
			"second one stops it at once. Both end in exit code 0, and so does an idle exit.\n\n" +
			"Exit codes: 0 stopped, 64 usage, 70 internal, 73 cannot create the socket, 75\n" +
			"already running, 77 not permitted, 78 configuration.",
		Args: exactArgs(),
	}
	cmd.Flags().StringVar(&file, "config", "", "read this file, in the place of all files of the configuration")
	cmd.Flags().StringArrayVar(&methods, "methods", nil,
		"folder of method files, in place of "+strings.Join(definition.SystemFolders, ", ")+" or a user's own; may be given several times, the first wins")
	completeFile(cmd, "config")
	completeFile(cmd, "methods")
	addSettingFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(config.Options{Flags: givenFlags(cmd), File: file}, methods)
		if err != nil {
			daemon.ReportFailure(err)
			return serveError(cmd, err)
		}
		level, err := logrus.ParseLevel(cfg.Settings.LogLevel)
		if err != nil {
			return err
		}
		cfg.Logger = daemon.NewLogger(cmd.ErrOrStderr(), level)
		return serveError(cmd, daemon.Run(cmd.Context(), cfg))
	}
	return cmd
}

// loadConfig reads all that a daemon is told, which a reload does again. An error
// about flags alone is a usage error.
func loadConfig(opts config.Options, methods []string) (daemon.Config, error) {
	if err := config.CheckFlags(opts.Flags); err != nil {
		return daemon.Config{}, &usageError{err}
	}
	if err := checkFolders(methods); err != nil {
		return daemon.Config{}, err
	}
	settings, err := config.Load(opts)
	if err != nil {
		return daemon.Config{}, err
	}
	cfg := daemon.ConfigOf(settings)
	if cfg.MethodFolders = methods; methods == nil {
		cfg.MethodFolders = methodFolders(opts.Instance)
	}
	cfg.Version = version.Get().Version
	cfg.Reread = func() (daemon.Config, error) { return loadConfig(opts, methods) }
	return cfg, nil
}

// checkFolders refuses folders that are not there, as usage errors: those by
// default may be missing, those that somebody named may not.
func checkFolders(folders []string) error {
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			return usageErrorf("--methods is %q, expected a folder that is there", folder)
		}
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
