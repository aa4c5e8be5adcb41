package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/conffile"
)

const packagedFile = "../../packaging/marianned.toml"

var commentedOut = regexp.MustCompile(`(?m)^#([^ #\n][^\n]*)$`)

// loadText reads a text as the only file of the system's daemon.
func loadText(t *testing.T, text string) *Config {
	t.Helper()
	opts := Options{File: newTree(t).write("marianned.toml", text), Environment: []string{"A=b"}, Trust: &conffile.Trust{}, Instance: SystemInstance}
	c, err := Load(opts)
	require.NoError(t, err)
	return c
}

func TestThePackagedFileChangesNothing(t *testing.T) {
	content, err := os.ReadFile(packagedFile)
	require.NoError(t, err)
	require.Equal(t, Defaults(SystemInstance), loadText(t, string(content)).Values)
	for line := range strings.Lines(string(content)) {
		require.True(t, line == "\n" || line[0] == '#', "%s", line)
		require.LessOrEqual(t, len(line), 82, "%s", line)
	}
}

func TestThePackagedFileHasEachSettingWithItsDefault(t *testing.T) {
	content, err := os.ReadFile(packagedFile)
	require.NoError(t, err)
	var found []string
	for _, line := range commentedOut.FindAllStringSubmatch(string(content), -1) {
		c := loadText(t, line[1])
		require.Equal(t, Defaults(SystemInstance), c.Values, "%s", line[1])
		for e := range c.All() {
			if c.IsSet(e.Name) {
				require.Equal(t, e.Name+" = "+e.TOML(), line[1])
				found = append(found, e.Name)
			}
		}
	}
	require.Equal(t, names(), found)

	all := commentedOut.ReplaceAllString(string(content), "$1")
	require.Equal(t, Defaults(SystemInstance), loadText(t, all).Values, "all at once")
}
