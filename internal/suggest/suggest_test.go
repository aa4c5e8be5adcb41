package suggest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheNearestNameIsSuggested(t *testing.T) {
	methods := []string{"daemon.health", "daemon.peers", "daemon.ready", "daemon.status", "disk.usage", "rpc.discover", "rpc.echo", "rpc.ping"}
	for name, want := range map[string]string{
		"daemon.statsu":           "daemon.status", // swapped
		"daemon.stats":            "daemon.status",
		"Daemon.Status":           "daemon.status",
		"status":                  "daemon.status", // its last part
		"stats":                   "daemon.status",
		"ping":                    "rpc.ping",
		"disk":                    "disk.usage", // its beginning
		"rpc.eco":                 "rpc.echo",
		"":                        "",
		"x":                       "",
		"weather.tomorrow":        "",
		strings.Repeat("x", 5000): "",
	} {
		require.Equal(t, want, Nearest(name, methods), "for %q", name)
	}
	require.Equal(t, "", Nearest("anything", nil))
}

func TestEditDistanceCountsCharacters(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"ca", "abc", 3}, {"ä", "o", 1}, {"serve", "sevre", 1},
	} {
		require.Equal(t, test.want, editDistance(test.a, test.b), "%q to %q", test.a, test.b)
		require.Equal(t, test.want, editDistance(test.b, test.a), "%q to %q", test.b, test.a)
	}
}
