package cli

import (
	"context"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// completed returns what a shell offers for the last word of a command line.
func completed(t *testing.T, words ...string) string {
	t.Helper()
	code, stdout, _ := run(t, "", append([]string{cobra.ShellCompRequestCmd}, words...)...)
	require.Zero(t, code)
	return stdout
}

func TestTheTabKeyOffersWhatTheDaemonHas(t *testing.T) {
	serving(t, &rpc.Method{
		Name: "disk.usage", Summary: "Free space",
		ParamsSchema: rpc.RawMessage(`{"type":"object","properties":{"path":{"type":"string","description":"where"},"deep":{"type":"boolean"}}}`),
		Handler:      rpc.HandlerFunc(func(context.Context, *rpc.Request) (any, error) { return nil, nil }),
	})
	for _, command := range []string{"call", "describe"} {
		offered := completed(t, command, "") // the shell picks those that fit
		require.Contains(t, offered, "\ndisk.usage\tFree space\n")
		require.Contains(t, offered, "\nrpc.ping\t")
		require.Contains(t, offered, "\n:4\n")
	}
	require.Equal(t, "deep:=\npath=\twhere\n:6\n", completed(t, "call", "disk.usage", ""))
	require.Equal(t, "deep:=\n:6\n", completed(t, "call", "disk.usage", "path=/srv", ""))
	require.Equal(t, ":4\n", completed(t, "call", "disk.usage", "deep:="), "nothing is added to it")
	require.Equal(t, ":4\n", completed(t, "call", "no.such", ""))
	require.Equal(t, ":4\n", completed(t, "describe", "disk.usage", ""))
}

func TestTheTabKeyOffersFilesOnlyWhereOneIsMeant(t *testing.T) {
	t.Setenv("MARIANNED_SOCKET", "/nowhere")
	require.Equal(t, ":0\n", completed(t, "call", "--params", ""))
	require.Equal(t, ":0\n", completed(t, "status", "--socket", ""))
	require.Equal(t, ":4\n", completed(t, "status", ""))
	require.Equal(t, ":4\n", completed(t, "status", "--timeout", ""))
	require.Equal(t, ":4\n", completed(t, "call", ""), "no daemon, nothing to offer")
	require.Equal(t, "error\nwarning\ninfo\ndebug\n:4\n", completed(t, "serve", "--log-level", ""))
}
