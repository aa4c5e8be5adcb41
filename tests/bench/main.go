package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "serve":
			return serve(args[1:])
		case "compare":
			return compare(os.Stdout, args[1:])
		}
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	report := measure(ctx, o, os.Stderr)
	if o.json != "" {
		if err := report.write(o.json); err != nil {
			return err
		}
	}
	report.print(os.Stdout)
	if err := report.failed(); err != nil {
		return err
	}
	if o.check {
		return report.check(os.Stdout)
	}
	return nil
}
