package cli

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/internal/daemon"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/operator"
	"github.com/marianned/marianned/methods/outside"
	"github.com/marianned/marianned/methods/policy"
	"github.com/marianned/marianned/methods/program"
	"github.com/marianned/marianned/rpc"
)

// newExecMethodCommand is the other end of marianned-exec.socket.
func newExecMethodCommand() *cobra.Command {
	var user string
	var folders []string
	cmd := &cobra.Command{
		Use:   "exec-method",
		Short: "Run one method as another user, for the daemon",
		Long: "Is started by marianned-exec.socket for a connection of the daemon, answers one call\n" +
			"and ends. It reads the operator's files itself, and\n" +
			"believes the daemon nothing but who calls.",
		Args:   exactArgs(),
		Hidden: true,
	}
	cmd.Flags().StringVar(&user, "daemon-user", "", "the user that the daemon runs as: it and root may ask")
	cmd.Flags().StringArrayVar(&folders, "methods", nil, "folder of method files, in place of the system's")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		uids := []uint32{0}
		if user != "" {
			uid, err := policy.System{}.User(user)
			if err != nil {
				return usageErrorf("--daemon-user: %w", err)
			}
			uids = append(uids, uid)
		}
		if folders == nil {
			folders = definition.SystemFolders
		}
		conn, err := activation.InheritConnection()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		log := daemon.NewLogger(cmd.ErrOrStderr(), logrus.InfoLevel)
		processes := new(program.Processes)
		err = outside.Serve(ctx, conn, uids, executor(folders, uids[len(uids)-1], processes, log), log)
		<-processes.Stop()
		return err
	}
	return cmd
}

// executor reads the files that root alone can have written, for the daemon of an
// owner. Where they can not be used it answers so.
func executor(folders []string, owner uint32, processes *program.Processes, log *logrus.Logger) outside.Executor {
	set, err := operator.Load(operator.Options{
		Folders: folders, Definition: definition.Options{Owners: []uint32{0}}, Owner: &owner,
		Logger: log, Processes: processes, Outside: operator.Outside{Here: true},
	})
	if err == nil {
		return set.Execute
	}
	log.WithError(err).Error("the files of methods can not be used")
	return func(context.Context, outside.Request, func(string, any) error) (rpc.RawMessage, error) {
		return nil, &rpc.Error{Code: rpc.CodeInternalError, Message: "the files of methods can not be used; the log has the mistakes",
			Data: &rpc.ErrorData{Reason: "internal", Executed: rpc.ExecutedNo}}
	}
}
