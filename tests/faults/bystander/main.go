// Command bystander is a well-behaved client: 200 small calls a second on one
// connection, daemon.health every 50 ms on another. It measures how long each
// takes from when it was due, and checks every reply to the byte.
//
//	bystander [-raw] SOCKET
//
// Each line of its stdin begins a phase of that name. At the end of stdin it waits
// for the replies that are due and prints a report of each phase as JSON. With
// -raw the server is one that writes back what it reads.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"time"
)

const (
	callInterval   = 5 * time.Millisecond
	healthInterval = 50 * time.Millisecond

	// patience is how long replies may be due for after the last call: more than
	// any timeout of the server's.
	patience = 60 * time.Second
)

func main() {
	raw := flag.Bool("raw", false, "the server writes back what it reads")
	flag.Parse()
	if err := run(flag.Arg(0), *raw); err != nil {
		fmt.Fprintln(os.Stderr, "bystander:", err)
		os.Exit(1)
	}
}

func run(path string, raw bool) error {
	kind := calls
	if raw {
		kind = lines
	}
	series := []*series{newSeries("calls", kind, callInterval)}
	if !raw {
		series = append(series, newSeries("health", health, healthInterval))
	}
	phase := new(phase)
	stop := make(chan struct{})
	done := make(chan error, len(series))
	for _, s := range series {
		nc, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		defer func() { _ = nc.Close() }()
		go func() { done <- s.run(nc, phase, stop) }()
	}
	fmt.Println("connected")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		phase.begin(input.Text())
	}
	close(stop)
	for range series {
		if err := <-done; err != nil {
			return err
		}
	}
	reports := map[string]map[string]report{}
	for _, name := range phase.names {
		reports[name] = map[string]report{}
		for _, s := range series {
			reports[name][s.name] = s.report(name)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(reports)
}
