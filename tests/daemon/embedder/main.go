// Command embedder serves two methods on the socket that it inherits, else on
// the path in its first argument: slow, which takes params.ms milliseconds, and
// spawn, which returns the environment and the file descriptors of a child.
package main

import (
	"context"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/rpc"
)

func main() {
	notifier, err := activation.NewNotifier()
	if err != nil {
		log.Fatal(err)
	}
	sockets, err := activation.Inherit()
	if err == nil && sockets == nil {
		var socket *activation.Socket
		socket, err = activation.Bind(activation.BindOptions{Path: os.Args[1]})
		sockets = []*activation.Socket{socket}
	}
	if err != nil {
		log.Fatal(err)
	}
	var methods rpc.Methods
	methods.Handle("slow", rpc.Typed(slow))
	methods.Handle("spawn", rpc.Typed(spawn))
	srv := &rpc.Server{Methods: &methods}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	drained := make(chan error, 1)
	context.AfterFunc(ctx, func() { drained <- srv.Shutdown(context.Background()) })
	if err := notifier.Ready("serving"); err != nil {
		log.Fatal(err)
	}
	if err := srv.Serve(sockets[0].Listener); err != rpc.ErrServerClosed {
		log.Fatal(err)
	}
	if err := <-drained; err != nil {
		log.Fatal(err)
	}
	if err := sockets[0].Close(); err != nil {
		log.Fatal(err)
	}
}

func slow(_ context.Context, p struct {
	MS int `json:"ms"`
}) (string, error) {
	<-time.After(time.Duration(p.MS) * time.Millisecond)
	return "done", nil
}

func spawn(ctx context.Context, _ rpc.NoParams) (string, error) {
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", "env; ls -l /proc/self/fd").CombinedOutput()
	return string(out), err
}
