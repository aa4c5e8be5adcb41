package daemon

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheDaemonCountsTheCallsOfTheOperatorsMethods(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	serve(t, path, "--methods", methodsFolder(t, `
[methods.fine]
allow = ["everyone"]
exec = ["/bin/true"]
[methods.broken]
allow = ["everyone"]
exec = ["/bin/false"]
`))
	for range 2 {
		code, said := ask(t, path, "fine")
		require.Zero(t, code, said)
	}
	code, said := ask(t, path, "broken")
	require.Equal(t, 1, code, said)
	code, said = ask(t, path, "daemon.metrics")
	require.Zero(t, code, said)
	var text string
	require.NoError(t, json.Unmarshal([]byte(said), &text))
	for _, line := range []string{
		`marianned_method_calls_total{code="0",method="fine"} 2`,
		`marianned_method_calls_total{code="-32000",method="broken"} 1`,
		`marianned_limit{name="max_connections"} 500`,
	} {
		require.True(t, strings.Contains(text, "\n"+line+"\n"), line)
	}
}
