package packages

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// README.md says how large they are. That may lag behind a little.
func TestTheReadmeSaysHowLargeThePackagesAre(t *testing.T) {
	need(t, "dpkg-deb", "dpkg")
	text, err := os.ReadFile(checkout + "/README.md")
	require.NoError(t, err)
	for _, arch := range []string{"amd64", "arm64"} {
		installed, err := strconv.Atoi(strings.TrimSpace(run(t, "dpkg-deb", "--field", debOf(all(t), current, arch), "Installed-Size")))
		require.NoError(t, err)
		found := []float64{mebibytes(t, debOf(all(t), current, arch)), mebibytes(t, rpmOf(all(t), current, arch)), float64(installed) / 1024}
		row := fmt.Sprintf("| %s | %.1f MiB | %.1f MiB | %.1f MiB |", arch, found[0], found[1], found[2])

		said := regexp.MustCompile(`(?m)^\| ` + arch + ` \| ([\d.]+) MiB \| ([\d.]+) MiB \| ([\d.]+) MiB \|$`).FindStringSubmatch(string(text))
		require.NotNil(t, said, "README.md has no row like %s", row)
		for i, size := range found {
			claim, err := strconv.ParseFloat(said[i+1], 64)
			require.NoError(t, err)
			require.Less(t, math.Abs(claim-size), size/10, "README.md should say: %s", row)
		}
	}
}

func mebibytes(t *testing.T, path string) float64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return float64(info.Size()) / (1 << 20)
}
