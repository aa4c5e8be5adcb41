package units

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sandbox returns the names of the directives of a service that are about what the
// daemon is kept from.
func sandbox(t *testing.T, path string) map[string]bool {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	_, section, found := strings.Cut(string(content), "# --- What the daemon is kept from")
	require.True(t, found)
	section, _, found = strings.Cut(section, "\n[Install]")
	require.True(t, found)
	names := map[string]bool{}
	for line := range strings.Lines(section) {
		if name, _, found := strings.Cut(line, "="); found && line[0] != '#' {
			names[name+"="] = true
		}
	}
	return names
}

// tables returns the rows of README.md whose first cell is code: the cells, in
// which the first has lost its ticks.
func tables(t *testing.T) [][]string {
	t.Helper()
	content, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(content), "\n## The sandbox\n")
	require.True(t, found)
	var rows [][]string
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if code, found := strings.CutPrefix(cells[0], "`"); found && len(cells) >= 3 {
			cells[0] = strings.TrimSuffix(code, "`")
			rows = append(rows, cells)
		}
	}
	return rows
}

func TestTheTableOfTheSandboxHasEachDirectiveWithItsReason(t *testing.T) {
	system, user := sandbox(t, "system/marianned.service"), sandbox(t, "user/marianned.service")
	for _, row := range tables(t) {
		if len(row) != 4 {
			continue
		}
		for i, unit := range []map[string]bool{system, user} {
			require.Contains(t, []string{"yes", "no"}, row[1+i], row)
			require.Equal(t, row[1+i] == "yes", unit[row[0]], "%v: is it in the %s unit?", row, []string{"system's", "user's"}[i])
			delete(unit, row[0])
		}
		require.NotEmpty(t, row[3], row)
	}
	require.Empty(t, system, "directives of the system's unit without a row")
	require.Empty(t, user, "directives of the user's unit without a row")
}

// exposure returns what systemd-analyze says of the service in folder: the whole,
// and the parts that are not zero.
func exposure(t *testing.T, scope Scope, folder string) (whole string, parts map[string]string) {
	t.Helper()
	args := []string{"--" + scope.String(), "security", "--offline=true", "./marianned.service"}
	text, stderr, err := analyze(t, folder, args...)
	require.NoError(t, err, stderr)
	found := regexp.MustCompile(`Overall exposure level for marianned.service: ([0-9.]+)`).FindStringSubmatch(text)
	require.NotNil(t, found, text)
	list, stderr, err := analyze(t, folder, append([]string{"--json=short"}, args...)...)
	require.NoError(t, err, stderr)
	var entries []struct {
		Name     string
		Exposure *string
	}
	require.NoError(t, json.Unmarshal([]byte(list), &entries), list)
	parts = map[string]string{}
	for _, entry := range entries {
		if entry.Exposure != nil {
			parts[entry.Name] = *entry.Exposure
		}
	}
	return found[1], parts
}

func TestTheFiguresOfTheSandboxAreThoseOfSystemd(t *testing.T) {
	content, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := strings.Join(strings.Fields(string(content)), " ")
	binary := filepath.Join(t.TempDir(), "marianned")

	whole, parts := exposure(t, System, renderInto(t, System, binary))
	require.Contains(t, readme, "`systemd-analyze security marianned.service` says "+whole+" ")
	listed := map[string]string{}
	for _, row := range tables(t) {
		if len(row) == 3 {
			listed[row[0]] = row[1]
		}
	}
	require.Equal(t, parts, listed)

	whole, _ = exposure(t, User, renderInto(t, User, binary))
	require.Regexp(t, "gives it [0-9., a-z]*"+regexp.QuoteMeta(whole), readme)
}
