package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/suggest"
	"github.com/marianned/marianned/rpc"
)

func newMethodsCommand() *cobra.Command {
	var opts clientOptions
	cmd := &cobra.Command{
		Use:   "methods",
		Short: "List the methods that you may call",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := opts.ask(cmd, discoverMethod)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if opts.json {
				return writeJSON(out, result, true)
			}
			d, err := parseDocument(result)
			if err != nil {
				return err
			}
			_, err = io.WriteString(out, formatMethods(d, newPalette(out, os.Getenv)))
			return err
		},
	}
	opts.register(cmd)
	return cmd
}

func newDescribeCommand() *cobra.Command {
	var opts clientOptions
	cmd := &cobra.Command{
		Use:   "describe METHOD",
		Short: "Show a method's params and result",
		Args:  exactArgs("METHOD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := opts.ask(cmd, discoverMethod)
			if err != nil {
				return err
			}
			d, err := parseDocument(result)
			if err != nil {
				return err
			}
			i := d.index(args[0])
			if i < 0 {
				return withCode(exitCallFailed, unknownMethod(args[0], d.names()))
			}
			out := cmd.OutOrStdout()
			if opts.json {
				return writeJSON(out, d.Methods[i].text, true)
			}
			_, err = io.WriteString(out, formatMethod(d.Methods[i], newPalette(out, os.Getenv)))
			return err
		},
	}
	opts.register(cmd)
	cmd.ValidArgsFunction = opts.completeMethod
	return cmd
}

func unknownMethod(name string, known []string) error {
	hint := ""
	if meant := suggest.Nearest(name, known); meant != "" {
		hint = fmt.Sprintf("did you mean %q? ", meant)
	}
	return fmt.Errorf("there is no method %q, or you may not see it; %s`marianned methods` lists what there is", name, hint)
}

// ask calls a method without params and without effects, for commands that show
// its result. No answer is exit code 69, like no connection.
func (o *clientOptions) ask(cmd *cobra.Command, method string) (rpc.RawMessage, error) {
	if err := o.check(cmd); err != nil {
		return nil, err
	}
	ctx, cancel := o.context(cmd.Context())
	defer cancel()
	client, err := o.dial(ctx, o.timeout)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	result, err := client.CallRaw(ctx, method, nil)
	var answer *rpc.Error
	switch {
	case err == nil:
		return result, nil
	case errors.As(err, &answer):
		return nil, callError(method, o.timeout, err, o.json)
	}
	return nil, unavailable(fmt.Errorf("%s: %s; the daemon took the connection, but did not answer: look at its log%w",
		method, interruption(o.timeout, err), silent{err}))
}
