package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/internal/demo"
)

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show socket activation with this program, in a temporary folder",
		Long: "Plays the service manager in a temporary folder: opens a socket, waits for a\n" +
			"client, starts this program as the daemon with the socket inherited, and again\n" +
			"after it has exited because nobody called. Takes about 6 seconds, needs neither\n" +
			"root nor systemd, and leaves nothing behind. Exit code 70 if anything does not go\n" +
			"as it should.",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the path of this program: %w", err)
			}
			// SIGPIPE too: the demo cleans up after `marianned demo | head -1`.
			ctx, stop := signal.NotifyContext(context.Background(),
				os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			err = demo.Run(ctx, demo.Options{
				Out:      cmd.OutOrStdout(),
				Command:  []string{self, activateCommand, self, "serve", "--config=" + os.DevNull, "--idle-exit=" + config.MinIdleExit.String()},
				IdleExit: config.MinIdleExit,
			})
			if err != nil && ctx.Err() != nil {
				return fmt.Errorf("demo: interrupted; everything of it is cleaned up%w", silent{err})
			}
			if err != nil {
				return internalError(fmt.Errorf("demo: %w", err))
			}
			return nil
		},
	}
}

const activateCommand = "activate-as-child"

// newActivateCommand is what demo starts: it becomes the daemon in its own
// process, once LISTEN_PID is right.
func newActivateCommand() *cobra.Command {
	return &cobra.Command{
		Use:                activateCommand + " PROGRAM [ARGUMENT]...",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf("%s: the program is missing; this command is for `marianned demo`", activateCommand)
			}
			return internalError(demo.Activate(args))
		},
	}
}
