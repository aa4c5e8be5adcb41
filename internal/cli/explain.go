package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/internal/suggest"
	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/operator"
	"github.com/marianned/marianned/methods/peerunit"
	"github.com/marianned/marianned/methods/policy"
	"github.com/marianned/marianned/rpc"
)

// explainOptions say whose call is meant, and by which files.
type explainOptions struct {
	uid     uint32
	user    string
	pid     int
	unit    string
	admin   bool
	own     bool
	folders []string
}

func newExplainCommand() *cobra.Command {
	var opts explainOptions
	cmd := &cobra.Command{
		Use:   "explain METHOD",
		Short: "Say who may call a method, and by which line",
		Long: "Says whether somebody may call a method, and which line of which file decides\n" +
			"that: for a user, by the groups of their next login, for a process that runs, or\n" +
			"else for whoever asks. Reads the files of the system's daemon as they are now, or\n" +
			"others, and asks no daemon: what it has loaded is what they said at its last\n" +
			"reload.\n\n" +
			"Exit codes: 0 may call, 77 may not, 1 there is no such method, 64 usage, 78 a\n" +
			"mistake in the files.",
		Example: "  marianned explain --user ann disk.usage\n" +
			"  marianned explain --uid 1000 --unit backup.service backup.start",
		Args: exactArgs("METHOD"),
	}
	flags := cmd.Flags()
	flags.Uint32Var(&opts.uid, "uid", 0, "the user with this number")
	flags.StringVar(&opts.user, "user", "", "the user of this name")
	flags.IntVar(&opts.pid, "pid", 0, "the process with this number")
	flags.StringVar(&opts.unit, "unit", "", "as if running in this unit of the system")
	flags.BoolVar(&opts.admin, "admin", false, "through the socket admin")
	flags.BoolVar(&opts.own, "own", false, "the files of the calling user's own daemon")
	flags.StringArrayVar(&opts.folders, "methods", nil, "folder of method files, as for serve; may be given several times")
	completeFile(cmd, "methods")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		peer, who, err := opts.peer(flags.Changed)
		if err != nil {
			return err
		}
		set, err := opts.load()
		if err != nil {
			return err
		}
		defer set.Close()
		if !set.Has(args[0]) && !isBuiltIn(args[0]) {
			return withCode(exitCallFailed, notDefined(args[0], set))
		}
		d := set.Decide(peer, args[0])
		if _, err := io.WriteString(cmd.OutOrStdout(), formatDecision(args[0], who, d)); err != nil {
			return err
		}
		if !d.Allowed {
			return &reportedError{err: withCode(exitNotPermitted, errors.New("not allowed"))}
		}
		return nil
	}
	return cmd
}

// peer returns whose call is meant, and what to call them.
func (o *explainOptions) peer(given func(string) bool) (peer *rpc.Peer, who string, err error) {
	several := 0
	for _, flag := range []string{"uid", "user", "pid"} {
		if given(flag) {
			several++
		}
	}
	switch {
	case several > 1:
		return nil, "", usageErrorf("several of --uid, --user and --pid are given, expected one")
	case given("user"):
		peer, who, err = userPeer(user.Lookup(o.user))
		if err != nil {
			return nil, "", usageErrorf("--user is %q: %w", o.user, err)
		}
	case given("uid"):
		uid := strconv.FormatUint(uint64(o.uid), 10)
		if peer, who, err = userPeer(user.LookupId(uid)); err != nil { // a uid may have no name
			peer, who, err = &rpc.Peer{UID: o.uid, GID: o.uid}, "uid "+uid+", of whom no groups are known", nil
		}
	default:
		pid := o.pid
		if !given("pid") {
			pid = os.Getpid()
		}
		if peer, err = peerunit.PeerOf(pid); errors.Is(err, fs.ErrNotExist) {
			return nil, "", usageErrorf("--pid is %d, expected a process that runs", pid)
		} else if err != nil {
			return nil, "", err
		}
		who = fmt.Sprintf("uid %d of pid %d", peer.UID, pid)
	}
	if o.unit != "" {
		peer.Unit, peer.UnitUnknown = o.unit, false
	}
	switch {
	case peer.Unit != "":
		who += " in " + peer.Unit
	case peer.UnitUnknown:
		who += ", whose unit can not be seen"
	}
	peer.Socket = activation.NameRPC
	if o.admin {
		peer.Socket = activation.NameAdmin
		who += " through the socket admin"
	}
	return peer, who, nil
}

// userPeer returns a user as they would be after a login.
func userPeer(u *user.User, err error) (*rpc.Peer, string, error) {
	if err != nil {
		return nil, "", err
	}
	texts, err := u.GroupIds()
	if err != nil {
		return nil, "", err
	}
	peer := new(rpc.Peer)
	for i, text := range append([]string{u.Uid, u.Gid}, texts...) {
		id, err := strconv.ParseUint(text, 10, 32)
		switch {
		case err != nil:
			return nil, "", err
		case i == 0:
			peer.UID = uint32(id)
		case i == 1:
			peer.GID = uint32(id)
		default:
			peer.Groups = append(peer.Groups, uint32(id))
		}
	}
	slices.Sort(peer.Groups)
	return peer, fmt.Sprintf("%s (uid %s)", u.Username, u.Uid), nil
}

// load reads the files that are meant, as the daemon would.
func (o *explainOptions) load() (*operator.Set, error) {
	opts := operator.Options{Folders: o.folders, Outside: outsideOf(o.own)}
	switch own := uint32(os.Geteuid()); {
	case o.folders != nil:
		if err := checkFolders(o.folders); err != nil {
			return nil, err
		}
	case o.own:
		opts.Folders, opts.Owner = definition.UserFolders(), &own
	default:
		opts.Folders = definition.SystemFolders
		owners := trustOf(config.SystemInstance).Owners
		opts.Definition.Owners, opts.Owner = owners, &owners[len(owners)-1] // the daemon's user, else root
	}
	set, err := operator.Load(opts)
	if findings, found := conffile.FindingsOf(err); found {
		return nil, reportFindings(findings)
	}
	return set, err
}

// isBuiltIn reports whether every daemon has the method.
func isBuiltIn(name string) bool {
	if strings.HasPrefix(name, "rpc.") {
		return true
	}
	return slices.Contains(methods.BuiltIn(), name)
}

func notDefined(name string, set *operator.Set) error {
	hint := "`marianned check` says which files are read"
	if meant := suggest.Nearest(name, append(set.Names(), methods.BuiltIn()...)); meant != "" {
		hint = fmt.Sprintf("did you mean %q?", meant)
	}
	return fmt.Errorf("no file defines a method %q; %s", name, hint)
}

// formatDecision returns two lines: the answer, and why.
func formatDecision(method, who string, d policy.Decision) string {
	answer := "may call"
	switch {
	case d.Allowed:
	case d.Hidden:
		answer = "may not call, and does not see,"
	default:
		answer = "may not call"
	}
	why := d.Why
	if d.At.File != "" {
		why = d.At.String() + ": " + why
	}
	return visible(fmt.Sprintf("%s %s %s", who, answer, method)) + "\n" + visible(why) + "\n"
}
