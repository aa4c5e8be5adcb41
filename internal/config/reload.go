package config

import (
	"fmt"
	"maps"
)

// Change is a setting whose value differs from that before a reload.
type Change struct {
	*Setting
	Old, New string // as a file has them
	Origin   Origin // of New
}

// String returns "max_batch: 100 -> 50".
func (c Change) String() string { return fmt.Sprintf("%s: %s -> %s", c.Name, c.Old, c.New) }

// Changes are those that a reload finds.
type Changes struct {
	// Applied are in force now.
	Applied []Change
	// Restart are those that only a restart brings into force.
	Restart []Change
}

// Reloaded returns what is in force after c was loaded by a daemon in which old
// was in force: c, with the old values of what only a restart changes.
func (c *Config) Reloaded(old *Config) (inForce *Config, changes Changes) {
	merged := *c
	merged.origins = maps.Clone(c.origins)
	for _, s := range Settings {
		before, after := s.get(&old.Values), s.get(&c.Values)
		if before == after {
			continue
		}
		change := Change{s, s.kind.quoted(before), s.kind.quoted(after), c.origins[s]}
		if s.Reload {
			changes.Applied = append(changes.Applied, change)
			continue
		}
		changes.Restart = append(changes.Restart, change)
		s.put(&merged.Values, before)
		merged.origins[s] = old.origins[s]
	}
	return &merged, changes
}
