package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/marianned/marianned/tests/bench/servers"
	"github.com/marianned/marianned/tests/bench/workload"
)

type options struct {
	rounds    int
	time      time.Duration
	servers   []*servers.Server
	workloads []*workload.Workload
	json      string
	check     bool
}

func parseOptions(args []string) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 3, "how often everything is measured; the table has the medians")
	flags.DurationVar(&o.time, "time", 1500*time.Millisecond, "how long one server is measured with one workload")
	serverNames := flags.String("servers", "", "measure only these and the reference: "+names(servers.All()))
	workloadNames := flags.String("workloads", "", "measure only these: "+names(workload.All()))
	flags.StringVar(&o.json, "json", "", "also write everything to this `file`, for bench compare OLD NEW")
	flags.BoolVar(&o.check, "check", false, "compare the medians with the targets, and fail if one is missed")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "bench [flags]             measure and print the table")
		fmt.Fprintln(flags.Output(), "bench compare OLD NEW     what changed between two files of -json")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err == flag.ErrHelp {
		os.Exit(0)
	} else if err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("found %q, expected flags, serve or compare", flags.Arg(0))
	case o.rounds < 1 || o.time <= 0:
		return nil, fmt.Errorf("found %d rounds of %v, expected at least 1, and some time", o.rounds, o.time)
	}
	var err error
	if o.servers, err = choose(servers.All(), *serverNames, servers.Reference); err != nil {
		return nil, err
	}
	o.workloads, err = choose(workload.All(), *workloadNames, "")
	return o, err
}

// named are servers and workloads.
type named interface{ String() string }

func names[T named](all []T) string {
	var list []string
	for _, one := range all {
		list = append(list, one.String())
	}
	return strings.Join(list, ", ")
}

// choose returns those of all that the list names, and the one that is always
// there, in the order of all; an empty list names all.
func choose[T named](all []T, list, always string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := map[string]bool{always: true}
	for name := range strings.SplitSeq(list, ",") {
		wanted[name] = true
	}
	var chosen []T
	for _, one := range all {
		if wanted[one.String()] {
			chosen = append(chosen, one)
		}
		delete(wanted, one.String())
	}
	delete(wanted, "")
	for name := range wanted {
		return nil, fmt.Errorf("found %q, expected some of %s", name, names(all))
	}
	return chosen, nil
}
