package version

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheLinkersWordWinsOverTheBuildInfoFieldByField(t *testing.T) {
	installed := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"},
		{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"},
		{Key: "vcs.modified", Value: "true"},
	}}
	checkout := &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}
	for _, test := range []struct {
		name   string
		linked Info
		build  *debug.BuildInfo
		want   string
	}{
		{"nothing known", Info{}, nil, "devel (go1)"},
		{"a checkout without version control", Info{}, checkout, "devel (go1)"},
		{"go install", Info{}, installed, "1.2.3 (commit 0123456789ab-dirty, 2026-01-02T03:04:05Z, go1)"},
		{"a release", Info{Version: "2.0.0", Commit: "fedcba9876543210", Date: "2027-01-01T00:00:00Z"}, installed,
			"2.0.0 (commit fedcba987654, 2027-01-01T00:00:00Z, go1)"},
		{"only a version, and a short hash", Info{Version: "v2.0.0", Commit: "fed"}, nil, "2.0.0 (commit fed, go1)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.linked.Go = "go1"
			require.Equal(t, test.want, resolve(test.linked, test.build).String())
		})
	}
}

func TestABuildAlwaysHasAVersion(t *testing.T) {
	require.NotEmpty(t, Get().Version)
	require.NotEmpty(t, Get().Go)
}
