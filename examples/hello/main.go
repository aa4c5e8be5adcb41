// Hello serves one method, greet, on a Unix socket: the one that the service
// manager opened for it, else the path in its first argument.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/rpc"
)

type greeting struct {
	Name string `json:"name"`
}

func main() {
	flag.Parse()
	sockets, err := activation.Inherit()
	if err == nil && sockets == nil {
		sockets = make([]*activation.Socket, 1)
		sockets[0], err = activation.Bind(activation.BindOptions{Path: flag.Arg(0)})
	}
	if err != nil {
		log.Fatal(err)
	}
	defer sockets[0].Close()

	var methods rpc.Methods
	methods.Handle("greet", rpc.Typed(func(_ context.Context, p greeting) (string, error) {
		return "hello, " + p.Name, nil
	}))
	server := &rpc.Server{Methods: &methods, SpareThreads: true}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	drained := make(chan error, 1)
	context.AfterFunc(ctx, func() { drained <- server.Shutdown(context.Background()) })
	if err := server.Serve(sockets[0].Listener); err != rpc.ErrServerClosed {
		log.Fatal(err)
	}
	<-drained
}
