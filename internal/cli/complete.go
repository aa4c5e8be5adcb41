package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeTimeout is how long somebody who pressed the tab key waits at most for a
// daemon to say what it has.
const completeTimeout = time.Second

// completeMethod offers the methods that the caller may call, with their
// summaries. Asking starts a daemon that its socket can start.
func (o *clientOptions) completeMethod(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var methods []cobra.Completion
	for _, m := range o.discover(cmd).Methods {
		methods = append(methods, cobra.CompletionWithDesc(visible(m.Name), visible(m.Summary)))
	}
	return methods, cobra.ShellCompDirectiveNoFileComp
}

// completeCall offers methods, and then the params that the method has besides
// those that are there: as key=, or key:= for one that is no string.
func (o *callOptions) completeCall(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return o.completeMethod(cmd, args, word)
	}
	if strings.Contains(word, "=") {
		// The value has begun. bash, to which = and : part words, would add what is
		// there already once more.
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	d := o.discover(cmd)
	i := d.index(args[0])
	if i < 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	given := map[string]bool{}
	for _, arg := range args[1:] {
		key, _, _ := strings.Cut(arg, "=")
		given[strings.TrimSuffix(key, ":")] = true
	}
	var params []cobra.Completion
	for _, p := range d.Methods[i].Params {
		if given[p.Name] {
			continue
		}
		sign := ":="
		if kind, _ := formatSchema(p.Schema); kind == "string" {
			sign = "="
		}
		params = append(params, cobra.CompletionWithDesc(visible(p.Name)+sign, visible(p.Summary+p.Description)))
	}
	return params, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeFile is for the few flags that name a file: elsewhere no file is offered.
func completeFile(cmd *cobra.Command, flag string) {
	completeFlag(cmd, flag, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
}

// completeWords is for a flag that takes one of a few words.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	completeFlag(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the command has no such flag
	}
}

// discover returns what the daemon says of itself; nothing where none answers.
func (o *clientOptions) discover(cmd *cobra.Command) document {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	client, err := o.dial(ctx, completeTimeout)
	if err != nil {
		return document{}
	}
	defer client.Close()
	result, err := client.CallRaw(ctx, discoverMethod, nil)
	if err != nil {
		return document{}
	}
	d, _ := parseDocument(result) // without an answer that fits there is nothing to offer
	return d
}
