package metrics

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func TestTheTextHasWhatTheServerCounts(t *testing.T) {
	m := New(&rpc.Server{Limits: rpc.Limits{MaxConnections: 7, QueueTimeout: 1500 * time.Millisecond}}, "1.2.3")
	m.Observe("disk.usage", 0, 20*time.Millisecond)
	m.Observe("disk.usage", 0, 30*time.Millisecond)
	m.Observe("disk.usage", rpc.CodeInvalidParams, time.Millisecond)
	text, err := m.Text()
	require.NoError(t, err)
	for _, line := range []string{
		`marianned_connections 0`,
		`marianned_requests_total 0`,
		`marianned_limit{name="max_connections"} 7`,
		`marianned_limit{name="queue_timeout_seconds"} 1.5`,
		`marianned_method_calls_total{code="0",method="disk.usage"} 2`,
		`marianned_method_calls_total{code="-32602",method="disk.usage"} 1`,
		`marianned_method_duration_seconds_count{method="disk.usage"} 3`,
	} {
		require.True(t, strings.Contains(text, "\n"+line+"\n"), line)
	}
	require.Regexp(t, regexp.MustCompile(`(?m)^marianned_build_info\{goversion="go1[^"]*",version="1.2.3"\} 1$`), text)
	require.Contains(t, text, "\nprocess_open_fds ")
	require.Contains(t, text, "\ngo_goroutines ")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}
