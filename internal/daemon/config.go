package daemon

import (
	"io/fs"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/rpc"
)

// Config says how to run. The zero value binds the default socket, with default
// limits, cuts off at once what runs at a stop, and logs nothing.
type Config struct {
	// Socket is the path that was asked for, to bind where none is inherited.
	// "": config.DefaultServeSocket.
	Socket string
	// Mode and Group are those of a bound socket. 0: activation.DefaultMode; "":
	// as the kernel decides.
	Mode  fs.FileMode
	Group string

	// Limits of the server; zero fields mean defaults.
	Limits rpc.Limits

	// DrainTimeout is how long calls that run at a stop may take to end. 0: they
	// are cut off at once.
	DrainTimeout time.Duration

	// KeepConnections leaves the connections open over a restart by SIGTERM: the
	// service manager keeps them for the next start, with what they have sent and
	// was not handled (FileDescriptorStoreMax=, systemd.service(5)). Without a
	// service manager, or with one that keeps nothing, they are closed.
	KeepConnections bool

	// IdleExit is after how long without a connection a daemon with inherited
	// sockets exits; the next connection starts it again. At least config.MinIdleExit,
	// or 0: never. A daemon that bound its socket never does: nothing would
	// start it.
	IdleExit time.Duration

	// MethodFolders hold the files of the operator's methods, the first of which
	// wins where two have a file of one name (marianned-methods(5)). nil: none.
	MethodFolders []string

	// Reread, if set, returns the whole configuration anew at a reload, by SIGHUP
	// or daemon.reload. What a running daemon can not change is as before:
	// Socket, Mode, Group, Logger. nil: a reload reads the files of MethodFolders
	// alone.
	Reread func() (Config, error)

	// Logger takes what is to be said; nil for silence.
	Logger *logrus.Logger

	// Settings are what the rest was made of, if it was; see ConfigOf.
	Settings *config.Config

	// Version as clients see it.
	Version string
	// Methods, if set, adds methods to those that every daemon has. They are for
	// root and the daemon's own user.
	Methods func(*rpc.Methods) error
}

// ConfigOf returns the Config that settings make, without what they do not speak
// of. Socket, Mode and Group are zero where they are not set, since only what is
// set can be in vain.
func ConfigOf(settings *config.Config) Config {
	c := Config{
		Limits:       settings.Limits,
		DrainTimeout: settings.DrainTimeout,
		IdleExit:     settings.IdleExit,
		Group:        settings.Group,
		Settings:     settings,

		KeepConnections: settings.KeepConnections,
	}
	if settings.IsSet("socket") {
		c.Socket = settings.Socket
	}
	if settings.IsSet("mode") {
		c.Mode = settings.Mode
	}
	return c
}

// Validate reports the first value that can not be used, by the name of its
// flag, as a config.ErrInvalid.
func (c Config) Validate() error {
	if c.DrainTimeout < 0 {
		return config.Errorf("drain-timeout is %s, expected 0 or more", c.DrainTimeout)
	}
	if c.IdleExit != 0 && c.IdleExit < config.MinIdleExit {
		return config.Errorf("idle-exit is %s, expected at least %s, or 0 for never: "+
			"the service manager gives up a socket that starts its service too often", c.IdleExit, config.MinIdleExit)
	}
	if err := c.Limits.Validate(); err != nil {
		return config.Errorf("%w", err)
	}
	return nil
}
