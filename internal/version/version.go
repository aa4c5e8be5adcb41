package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// Set by the linker (-X); empty in a build without it.
var (
	Version string // "1.2.3", without a leading "v"
	Commit  string // the full hash
	Date    string // of the commit, RFC 3339
)

// Info is what is known about this build.
type Info struct {
	Version string // never empty
	Commit  string // full hash, with "-dirty" for a changed checkout; empty if not known
	Date    string // of the commit, RFC 3339; empty if not known
	Go      string // the toolchain: "go1.26.8"
}

// String returns one line: "1.2.3 (commit 0123456789ab, 2026-01-02T03:04:05Z, go1.26.8)".
func (i Info) String() string {
	var details []string
	if i.Commit != "" {
		hash, dirty := strings.CutSuffix(i.Commit, "-dirty")
		short := hash[:min(len(hash), 12)]
		if dirty {
			short += "-dirty"
		}
		details = append(details, "commit "+short)
	}
	if i.Date != "" {
		details = append(details, i.Date)
	}
	details = append(details, i.Go)
	return fmt.Sprintf("%s (%s)", i.Version, strings.Join(details, ", "))
}

// Get returns what is known about this build. It may be called from any
// goroutine; the answer never changes.
var Get = sync.OnceValue(func() Info {
	build, _ := debug.ReadBuildInfo()
	return resolve(Info{Version: Version, Commit: Commit, Date: Date, Go: runtime.Version()}, build)
})

// resolve fills what is empty in linked from build, which may be nil.
func resolve(linked Info, build *debug.BuildInfo) Info {
	info := linked
	if build != nil {
		if info.Version == "" && build.Main.Version != "(devel)" {
			info.Version = build.Main.Version
		}
		settings := map[string]string{}
		for _, setting := range build.Settings {
			settings[setting.Key] = setting.Value
		}
		if info.Commit == "" && settings["vcs.revision"] != "" {
			info.Commit = settings["vcs.revision"]
			if settings["vcs.modified"] == "true" {
				info.Commit += "-dirty"
			}
		}
		if info.Date == "" {
			info.Date = settings["vcs.time"]
		}
	}
	info.Version = strings.TrimPrefix(info.Version, "v")
	if info.Version == "" {
		info.Version = "devel"
	}
	return info
}
