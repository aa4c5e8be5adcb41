package servers

import (
	"context"
	"net"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/marianned/marianned/tests/bench/workload"
)

// googleRPC has windows so large that no sender ever waits for one, and workers
// that outlive a call. Its service needs no generated code, for its messages are
// of a well-known type.
func googleRPC(l net.Listener, _ *workload.Workload) error {
	const window = 1 << 30
	srv := grpc.NewServer(
		grpc.MaxConcurrentStreams(1<<20),
		grpc.MaxRecvMsgSize(1<<25),
		grpc.MaxSendMsgSize(1<<25),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.NumStreamWorkers(uint32(runtime.NumCPU())),
		grpc.SharedWriteBuffer(true),
	)
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Bench",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: grpcEcho}},
	}, nil)
	return srv.Serve(l)
}

func grpcEcho(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	text := new(wrapperspb.StringValue)
	if err := decode(text); err != nil {
		return nil, err
	}
	return text, nil
}
