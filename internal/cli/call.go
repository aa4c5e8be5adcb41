package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/rpc"
)

type callOptions struct {
	clientOptions
	params string
	stream bool
	raw    bool
}

func newCallCommand() *cobra.Command {
	var opts callOptions
	cmd := &cobra.Command{
		Use:   "call METHOD [key=value | key:=json]...",
		Short: "Call a method and print its result",
		Long: "Calls a method. key=value passes a string or, where the method expects no string,\n" +
			"what it expects: a number, true, a list. key:=json passes any JSON value; --params\n" +
			"passes a whole object or array from a file, or with - from stdin.\n\n" +
			"The result goes to stdout as indented JSON, with --json as the daemon sent it, on\n" +
			"one line, and with --raw, if it is a string, as it is. With --stream each event is\n" +
			"printed as it comes, its method and params in one object, and then the result;\n" +
			"there is no time limit then unless --timeout is given. Ctrl-C cancels the call. An error goes to stderr, with --json as the\n" +
			"error object that the daemon sent.\n\n" +
			"Exit codes: 0 a result, 1 an error, 64 usage, 69 cannot connect, 77 not permitted.",
		Example: "  marianned call rpc.echo greeting=hello count:=3\n" +
			"  echo '[1, 2]' | marianned call rpc.echo --params -",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usageErrorf("%sthe method is missing, expected `%s`; `marianned methods` lists what there is", prefix(cmd), cmd.UseLine())
			}
			return nil
		},
	}
	opts.register(cmd)
	cmd.Flags().StringVar(&opts.params, "params", "", "file with the params as a JSON object or array; - for stdin")
	completeFile(cmd, "params")
	cmd.ValidArgsFunction = opts.completeCall
	cmd.Flags().BoolVar(&opts.stream, "stream", false, "print the events of a streaming method as they come")
	cmd.Flags().BoolVar(&opts.raw, "raw", false, "print a result that is a string as it is, not as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := opts.check(cmd); err != nil {
			return err
		}
		connect := opts.timeout
		if opts.stream && !cmd.Flags().Changed("timeout") {
			opts.timeout = 0
		}
		members, params, err := opts.readParams(cmd, args[1:])
		if err != nil {
			return err
		}
		return opts.run(cmd, connect, args[0], members, params)
	}
	return cmd
}

// readParams returns the params by their members or as a whole; nil for none.
func (o *callOptions) readParams(cmd *cobra.Command, args []string) (members []member, whole json.RawMessage, err error) {
	if !cmd.Flags().Changed("params") {
		members, err = parseMembers(args)
		return members, nil, err
	}
	if len(args) > 0 {
		return nil, nil, usageErrorf("params are given both as %q and by --params, expected one of them", args[0])
	}
	whole, err = readParams(o.params, cmd.InOrStdin())
	return nil, whole, err
}

// run calls the method; connect is how long connecting may take. Params are read
// before: Ctrl-C ends a wait for stdin as it ends any program.
func (o *callOptions) run(cmd *cobra.Command, connect time.Duration, method string, members []member, params json.RawMessage) error {
	ctx, cancel := o.context(cmd.Context())
	defer cancel()
	client, err := o.dial(ctx, connect)
	if err != nil {
		return err
	}
	defer client.Close()
	if members != nil {
		fillTypes(ctx, client, method, members)
		params = formatMembers(members)
	}
	out := cmd.OutOrStdout()
	var result rpc.RawMessage
	if o.stream {
		result, err = o.follow(ctx, cmd, client, method, params)
	} else {
		result, err = client.CallRaw(ctx, method, params)
	}
	var call *rpc.CallError
	switch {
	case err != nil && o.stream && errors.Is(ctx.Err(), context.Canceled):
		return withCode(exitCallFailed, fmt.Errorf("%s: interrupted; the stream is cancelled%w", method, silent{err}))
	case errors.As(err, &call):
		return callError(method, o.timeout, err, o.json)
	case err != nil:
		return err
	}
	if text, ok := rawText(result); o.raw && ok {
		if isTerminal(out) {
			text = visibleLines(text)
		}
		_, err := io.WriteString(out, text)
		return err
	}
	return writeJSON(out, result, o.json)
}

// rawText returns a result that is a string, as whole lines.
func rawText(result rpc.RawMessage) (text string, ok bool) {
	if len(result) == 0 || result[0] != '"' || json.Unmarshal(result, &text) != nil {
		return "", false
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text, true
}

// follow prints the events of a stream as they come and returns the result of
// its call.
func (o *callOptions) follow(ctx context.Context, cmd *cobra.Command, client *rpc.Client, method string, params json.RawMessage) (rpc.RawMessage, error) {
	stream, err := client.Stream(ctx, method, params)
	if err != nil {
		return nil, err
	}
	for {
		event, err := stream.Next(context.Background()) // the stream ends with ctx
		switch {
		case err == io.EOF: // a CallError may wrap it, when the connection has ended
			return stream.Result(), nil
		case err != nil:
			return nil, err
		}
		if event.Lost > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "marianned: %s: %d events were lost before the next one: they came faster than they were read\n", visible(method), event.Lost)
		}
		if err := writeJSON(cmd.OutOrStdout(), eventObject(event.Method, event.Params), o.json); err != nil {
			_ = stream.Close() // it cancels the call
			return nil, fmt.Errorf("write an event: %w", err)
		}
	}
}

// eventObject is what is printed of an event.
func eventObject(event string, params json.RawMessage) json.RawMessage {
	object := append([]byte(`{"method":`), jsonString(strings.ToValidUTF8(event, "\uFFFD"))...)
	if len(params) > 0 {
		object = append(append(object, `,"params":`...), params...)
	}
	return append(object, '}')
}
