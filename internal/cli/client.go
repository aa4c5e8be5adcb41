package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/rpc"
)

const (
	defaultTimeout = 30 * time.Second
	forEver        = 100 * 365 * 24 * time.Hour
)

// clientOptions are the flags that all commands have which talk to a daemon.
type clientOptions struct {
	socket  string
	timeout time.Duration
	json    bool
}

func (o *clientOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.socket, "socket", "", "path of the daemon's socket (default $MARIANNED_SOCKET, else the user's own if it exists, else the system's)")
	completeFile(cmd, "socket")
	flags.DurationVar(&o.timeout, "timeout", defaultTimeout, "how long connecting and the answer may take; 0 is for ever")
	flags.BoolVar(&o.json, "json", false, "print the answer as the daemon sent it, on one line")
}

// check refuses values that mean nothing. Errors are usage errors.
func (o *clientOptions) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("socket") && o.socket == "" {
		return usageErrorf("--socket is empty, expected the path of the daemon's socket")
	}
	if o.timeout < 0 {
		return usageErrorf("--timeout is %s, expected a duration like 30s, or 0 for none", o.timeout)
	}
	return nil
}

// context bounds a command's work by its timeout and by Ctrl-C and SIGTERM. A
// second Ctrl-C ends the process at once, as without us.
func (o *clientOptions) context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if o.timeout == 0 {
		return ctx, stop
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	return ctx, func() { cancel(); stop() }
}

// dial connects to the daemon, within limit; 0 is for ever. Errors end in exit
// code 69.
func (o *clientOptions) dial(ctx context.Context, limit time.Duration) (*rpc.Client, error) {
	within := limit
	if within == 0 {
		within = forEver // Dial has a limit of its own for a context without
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	path := config.ClientSocket(o.socket)
	client, err := rpc.Dial(ctx, path)
	if err != nil {
		return nil, connectError(path, limit, err)
	}
	return client, nil
}

// connectError says why nobody answers at path, and what to do.
func connectError(path string, timeout time.Duration, err error) error {
	var found, next string
	start := startHint(path)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EAGAIN):
		found = fmt.Sprintf("the daemon did not take the connection within %s", timeout)
		next = "it is overloaded or hangs: try again, or look at its log"
	case errors.Is(err, context.Canceled):
		found, next = "interrupted", "nothing was sent"
	case errors.Is(err, fs.ErrNotExist):
		found = "there is no socket"
		next = start
	case errors.Is(err, fs.ErrPermission):
		found, next = permissionHint(path)
	case errors.Is(err, syscall.ECONNREFUSED):
		found, next = refusedHint(path, start)
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		found = fmt.Sprintf("the path has %d bytes", len(path))
		next = "a socket's path has at most 107 bytes: name another with --socket"
	case errors.Is(err, syscall.ENOTDIR):
		found = "a part of the path is no folder"
		next = "name the socket with --socket or $MARIANNED_SOCKET"
	default:
		found, next = err.Error(), start
	}
	return unavailable(fmt.Errorf("cannot connect to %s: %s; %s%w", path, found, next, silent{err}))
}

// silent keeps an error in the chain of another without its text.
type silent struct{ cause error }

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.cause }

// startHint says how the socket at path comes to be there.
func startHint(path string) string {
	switch {
	case path == config.SystemSocket:
		return "`systemctl start marianned.socket` opens it; `marianned units install` installs the units; `marianned serve` runs a daemon by hand"
	case strings.HasPrefix(path, "/run/user/"):
		return "`systemctl --user start marianned.socket` opens it; `marianned units install --user` installs the units; `marianned serve` runs a daemon by hand"
	}
	return fmt.Sprintf("`marianned serve --socket %s` runs a daemon there, --socket and $MARIANNED_SOCKET name another", path)
}

// refusedHint tells a socket that nobody listens on from what is no socket.
func refusedHint(path, start string) (found, next string) {
	info, err := os.Stat(path)
	if err == nil && info.Mode()&fs.ModeSocket == 0 {
		return fmt.Sprintf("it is %s, expected a socket", describeMode(info.Mode())), "name the daemon's socket with --socket or $MARIANNED_SOCKET"
	}
	return "the socket is there, but nobody listens: its daemon has ended without removing it", start
}

func describeMode(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a folder"
	}
	return "a special file (" + mode.Type().String() + ")"
}

// permissionHint says which group would let the caller connect.
func permissionHint(path string) (found, next string) {
	info, err := os.Stat(path)
	if err != nil {
		return "permission denied for one of its folders", "ask whoever runs the daemon, or name another socket with --socket"
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "permission denied", "ask whoever runs the daemon"
	}
	gid := strconv.FormatUint(uint64(stat.Gid), 10)
	group := gid
	if g, err := user.LookupGroupId(gid); err == nil {
		group = g.Name
	}
	found = fmt.Sprintf("permission denied: the socket has mode %04o and group %s", info.Mode().Perm(), group)
	switch {
	case info.Mode().Perm()&0o020 == 0 || stat.Gid == 0:
		return found, "only its owner may connect: ask whoever runs the daemon"
	case memberOf(gid):
		return found, fmt.Sprintf("you are in the group %s, but this session began before: log in again, or run `newgrp %s`", group, group)
	}
	return found, fmt.Sprintf("expected you in the group %s: `sudo usermod -aG %s %s`, then log in again, since a session sees a new group only from the next login on", group, group, userName())
}

// memberOf reports whether the user database has the caller in the group,
// whatever the groups of this process are.
func memberOf(gid string) bool {
	u, err := user.Current()
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err == nil && slices.Contains(groups, gid)
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "NAME"
}
