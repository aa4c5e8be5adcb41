package forward

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/marianned/marianned/methods/definition"
)

// Defaults of a definition.
const (
	DefaultMaxConnections = 4
	DefaultConnectTimeout = 5 * time.Second
	// DefaultIdleTimeout is shorter than that of any server that we know: a call
	// over a connection that is being closed there may or may not arrive.
	DefaultIdleTimeout = 30 * time.Second

	maxMaxConnections = 64
	maxPathBytes      = 107 // of sun_path less the NUL, unix(7)
)

// Settings are what a definition says, with its defaults.
type Settings struct {
	Socket         string
	MaxConnections int
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration
}

// Read reads a definition. What is wrong with it is added to findings; the
// settings are then not usable.
func Read(d *definition.Forward, findings *definition.Findings) Settings {
	checkSocket(d.Socket, d.At("socket"), findings)
	if d.MaxConnections < 0 || d.MaxConnections > maxMaxConnections {
		findings.Add(d.At("max_connections"), "max_connections is %d, expected a number from 1 to %d", d.MaxConnections, maxMaxConnections)
	}
	return withDefaults(Settings{d.Socket, d.MaxConnections, d.ConnectTimeout.Duration(), d.IdleTimeout.Duration()})
}

// ReadPath returns the settings for a socket that a method names by its path.
func ReadPath(path string, at definition.Position, findings *definition.Findings) Settings {
	checkSocket(path, at, findings)
	return withDefaults(Settings{Socket: path})
}

func withDefaults(s Settings) Settings {
	if s.MaxConnections == 0 {
		s.MaxConnections = DefaultMaxConnections
	}
	if s.ConnectTimeout == 0 {
		s.ConnectTimeout = DefaultConnectTimeout
	}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = DefaultIdleTimeout
	}
	return s
}

func checkSocket(path string, at definition.Position, findings *definition.Findings) {
	switch {
	case path == "":
		findings.Add(at, "no socket is named, expected the path of a Unix socket")
	case !filepath.IsAbs(path) || strings.IndexByte(path, 0) >= 0:
		findings.Add(at, "the socket %q: expected an absolute path", path)
	case len(path) > maxPathBytes:
		findings.Add(at, "the socket %q has a path of %d bytes, expected at most %d", path, len(path), maxPathBytes)
	}
}
