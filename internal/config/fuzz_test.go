package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/conffile"
)

// A file is refused with its name, or what it says can be used, and is read again
// as it is shown.
func FuzzAFileIsRefusedOrCanBeUsed(f *testing.F) {
	for _, text := range []string{"# a\nmode = \"0600\"\nmax_batch = 7 # b\nidle_exit = \"1m30s\"\n", "max_batch = 0x10", "max_message_bytes = \"1 GiB\"", "a.b.c = [{d = 1}, [[2]]]\n[[e]]\n[[e]]", "socket = '''/a\nb'''",
		"\"max_batch\" = 1", "max_batch.x = 1", "[mode]\n", "queue_timeout = 1979-05-27", "max_batch = 1e3", "=", "[[max_batch]]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		load := func(text string) (*Config, error) {
			var findings conffile.Findings
			c := newConfig(SystemInstance)
			c.loadText("f", []byte(text), &findings)
			if findings.Err() == nil {
				c.checkTogether(&findings)
			}
			return c, findings.Err()
		}
		c, err := load(text)
		if err != nil {
			for _, finding := range err.(conffile.Findings) {
				require.Equal(t, "f", finding.File)
			}
			return
		}
		require.NoError(t, c.Limits.Validate())
		var shown strings.Builder
		for e := range c.All() {
			shown.WriteString(e.Name + " = " + e.TOML() + "\n")
		}
		again, err := load(shown.String())
		require.NoError(t, err)
		require.Equal(t, c.Values, again.Values)
	})
}
