package daemon

import (
	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/internal/config"
)

// replacing returns c as it takes the place of old in a daemon that runs: what
// only a restart changes is that of old.
func (c Config) replacing(old Config) (Config, config.Changes) {
	c.Socket, c.Mode, c.Group, c.Logger = old.Socket, old.Mode, old.Group, old.Logger
	if c.Settings == nil || old.Settings == nil {
		return c, config.Changes{}
	}
	settings, changes := c.Settings.Reloaded(old.Settings)
	c.Settings = settings
	return c, changes
}

// setLogLevel makes the logger as loud as the settings have it.
func (l *lifecycle) setLogLevel(cfg Config) {
	if cfg.Settings == nil {
		return
	}
	if level, err := logrus.ParseLevel(cfg.Settings.LogLevel); err == nil { // it was checked when it was read
		l.log.SetLevel(level)
	}
}

// reportSettings says what is doubtful in the settings, and what of them has changed.
func reportSettings(log *logrus.Logger, settings *config.Config, changes config.Changes) {
	if settings == nil {
		return
	}
	for _, w := range settings.Warnings {
		log.Warn(w.Message)
	}
	for _, change := range changes.Applied {
		log.WithField("origin", change.Origin.String()).Info("changed: " + change.String())
	}
	for _, change := range changes.Restart {
		log.WithField("origin", change.Origin.String()).Warn(restartNeeded(change))
	}
}

func restartNeeded(change config.Change) string {
	return "needs a restart: " + change.String()
}

// describeSettings returns the files that were read, and what is doubtful: what
// daemon.reload answers of them.
func (o *offer) describeSettings() (files, warnings []string) {
	if o.cfg.Settings == nil {
		return nil, nil
	}
	for _, w := range o.cfg.Settings.Warnings {
		warnings = append(warnings, w.String())
	}
	for _, change := range o.changes.Restart {
		warnings = append(warnings, change.Origin.String()+": warning: "+restartNeeded(change))
	}
	return o.cfg.Settings.Files, warnings
}
