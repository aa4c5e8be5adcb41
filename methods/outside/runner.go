package outside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/rpc"
)

// Runner answers a method by what the service manager starts. It is a
// backend.Backend.
type Runner struct {
	socket string
	stream bool
}

var _ backend.Backend = (*Runner)(nil)

// NewRunner returns what answers a method, a stream or not, by the socket at a
// path.
func NewRunner(socket string, stream bool) *Runner { return &Runner{socket, stream} }

// Close does nothing: what is started ends with its call.
func (r *Runner) Close() {}

// endPatience is how long a program may take to end, with all that it has started:
// longer than the other side gives it.
const endPatience = 2 * time.Second

// Call has the other side run the method. It returns when nothing of it runs any
// more.
func (r *Runner) Call(ctx context.Context, call *backend.Call) (rpc.RawMessage, error) {
	client, err := rpc.ClientOptions{MaxMessageBytes: maxMessageBytes}.Dial(ctx, r.socket)
	if err != nil {
		return nil, r.notStarted(ctx, call, err)
	}
	defer client.Close()
	request := Request{Method: call.Method, Params: call.Params, RequestID: call.RequestID, Peer: peerOf(call.Peer)}
	var result rpc.RawMessage
	if r.stream {
		result, err = streamed(ctx, client, request, call)
	} else {
		err = client.Call(ctx, methodRun, request, &result)
	}
	if err == nil {
		return result, nil
	}
	return nil, failure(ctx, client, call, err)
}

func streamed(ctx context.Context, client *rpc.Client, request Request, call *backend.Call) (rpc.RawMessage, error) {
	stream, err := client.Stream(ctx, methodStream, request)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for {
		e, err := stream.Next(ctx)
		switch {
		case err == io.EOF:
			return stream.Result(), nil
		case err != nil:
			return nil, err
		}
		params, err := backend.EventParams(e.Params, e.Lost)
		if err == nil {
			err = call.Emit(e.Method, params)
		}
		if err != nil { // the stream has ended, or the event does not fit into it
			call.Log.WithError(err).Debug("an event is left out")
		}
	}
}

func (r *Runner) notStarted(ctx context.Context, call *backend.Call, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		err = fmt.Errorf("%w: start marianned-exec.socket", err)
	case errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w: SocketUser= of marianned-exec.socket must be the user of the daemon", err)
	}
	return call.Failed(rpc.ExecutedNo, err)
}

// failure is what the caller reads of an error.
func failure(ctx context.Context, client *rpc.Client, call *backend.Call, err error) error {
	if ctx.Err() != nil {
		// The other side was told, and closes the connection when all has ended.
		patience := time.NewTimer(endPatience)
		defer patience.Stop()
		select {
		case <-client.Done():
		case <-patience.C:
			call.Log.Warn("a program outside has not ended in time")
		}
		return context.Cause(ctx)
	}
	var failed *rpc.CallError
	var reply *rpc.Error
	switch {
	case !errors.As(err, &failed):
		return call.Failed(rpc.ExecutedUnknown, err)
	case errors.As(failed.Err, &reply):
		return relay(call, reply, failed.Executed)
	}
	return call.Failed(failed.Executed, fmt.Errorf("the program's service: %w", err))
}

// relay passes on what the other side has made for the caller, as a program in
// the daemon would have. What it says to the daemon is for the log.
func relay(call *backend.Call, reply *rpc.Error, executed rpc.Executed) error {
	switch reply.Code {
	case rpc.CodeInvalidParams, rpc.CodeReplyTooLarge:
		return reply
	case rpc.CodeMethodNotFound, rpc.CodeNotAuthorized, rpc.CodeInvalidRequest, rpc.CodeParseError:
		return call.Failed(rpc.ExecutedNo, fmt.Errorf("the program's service refuses the call: %w; have both read the same files?", reply))
	case rpc.CodeInternalError:
		return call.Failed(executed, fmt.Errorf("the program's service: %w; its log has the cause", reply))
	case rpc.CodeShuttingDown, rpc.CodeCancelled, rpc.CodeDeadlineExceeded:
		return call.Failed(executed, fmt.Errorf("the program's service: %w", reply))
	}
	return reply
}
