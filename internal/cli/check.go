package cli

import (
	"fmt"
	"io"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/methods/definition"
	"github.com/marianned/marianned/methods/operator"
	"github.com/marianned/marianned/methods/outside"
)

// daemonUser is the User= of the system's unit.
const daemonUser = "marianned"

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]...",
		Short: "Look for mistakes in the configuration and in methods.d",
		Long: "Looks for mistakes in files, without a daemon: in those named, wherever they are\n" +
			"and whoever owns them, else in all that a daemon started now would read. A file\n" +
			"of methods is known by its folder, methods.d, or by what is in it.\n\n" +
			"Prints a line for each mistake: its file, line and column, what was found, and\n" +
			"what was expected. Exit codes: 0 none, 64 usage, 78 mistakes.",
	}
	instance := instanceFlags(cmd)
	cmd.ValidArgsFunction = cobra.FixedCompletions([]cobra.Completion{"toml"}, cobra.ShellCompDirectiveFilterFileExt)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		whose, err := instance()
		if err != nil {
			return err
		}
		check := &checker{}
		if len(args) > 0 {
			check.files(args)
		} else {
			check.all(whose)
		}
		mistakes, warnings := check.findings.Split()
		printFindings(cmd.ErrOrStderr(), warnings)
		if len(mistakes) > 0 {
			return reportFindings(mistakes)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "no mistakes; files read: %d\n", len(check.read))
		return err
	}
	return cmd
}

// checker collects what is found.
type checker struct {
	read     []string // paths
	findings conffile.Findings
}

// all looks at what a daemon would load.
func (c *checker) all(instance config.Instance) {
	trust := trustOf(instance)
	settings, err := config.Load(config.Options{Instance: instance, Trust: &trust})
	c.add(err)
	if err == nil {
		c.read = append(c.read, settings.Files...)
		c.findings = append(c.findings, settings.Warnings...)
	}
	set, err := operator.Load(operator.Options{Folders: methodFolders(instance), Definition: definition.Options{Owners: trust.Owners}, Outside: outsideOf(instance.IsUser())})
	c.methods(set, err)
	if !instance.IsUser() {
		c.readable(c.read, daemonUser)
	}
}

// files looks at the contents of some files.
func (c *checker) files(paths []string) {
	var configs, methods []string
	for _, path := range paths {
		if isMethodsFile(path) {
			methods = append(methods, path)
		} else {
			configs = append(configs, path)
		}
	}
	c.read = append(c.read, configs...)
	c.add(config.CheckFiles(configs, conffile.Trust{}))
	if len(methods) > 0 {
		c.methods(operator.LoadFiles(methods, operator.Options{Definition: definition.Options{Owners: []uint32{}}, Outside: outsideOf(false)}))
	}
}

// outsideOf is for files that are only looked at. Whether the service manager
// listens now is no matter of theirs.
func outsideOf(user bool) operator.Outside {
	if user {
		return operator.Outside{Why: "a user's own daemon runs programs as this user alone: drop the key"}
	}
	return operator.Outside{Socket: outside.Socket}
}

// methods takes what was loaded.
func (c *checker) methods(set *operator.Set, err error) {
	c.add(err)
	if err == nil {
		c.read = append(c.read, set.Files...)
		c.findings = append(c.findings, set.Warnings...)
		set.Close()
	}
}

func (c *checker) add(err error) {
	if err == nil {
		return
	}
	findings, ok := conffile.FindingsOf(err)
	if !ok {
		findings.Add(conffile.Position{}, "%s", err)
	}
	c.findings = append(c.findings, findings...)
}

// isMethodsFile tells a file of methods.d from one of the configuration.
func isMethodsFile(path string) bool {
	if absolute, err := filepath.Abs(path); err == nil {
		switch filepath.Base(filepath.Dir(absolute)) {
		case "methods.d":
			return true
		case "conf.d":
			return false
		}
	}
	text, err := conffile.Trust{}.Read(path)
	if err != nil {
		return false // whoever reads it says why not
	}
	for _, key := range conffile.NewIndex(path, text).Paths { // also of those before a mistake
		if slices.Contains(definition.Tables(), key[0]) {
			return true
		}
	}
	return false
}

// account is the user of the system's daemon, where there is one.
type account struct{ uid, gid uint32 }

func daemonAccount(name string) (account, bool) {
	found, err := user.Lookup(name)
	if err != nil {
		return account{}, false
	}
	uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
	return account{uint32(uid), uint32(gid)}, uidErr == nil && gidErr == nil
}

// trustOf returns in whose files the daemon trusts, whoever asks for it.
func trustOf(instance config.Instance) conffile.Trust {
	if instance.IsUser() {
		return conffile.Trusted()
	}
	owners := []uint32{0}
	if daemon, found := daemonAccount(daemonUser); found {
		owners = append(owners, daemon.uid)
	}
	return conffile.Trust{Owners: owners}
}

// readable warns of files that the system's daemon may not read, though whoever
// checks them may.
func (c *checker) readable(files []string, name string) {
	daemon, found := daemonAccount(name)
	if !found {
		return
	}
	for _, path := range files {
		if err := conffile.Readable(path, daemon.uid, daemon.gid); err != nil {
			c.findings.Warn(conffile.Position{File: path}, "the daemon's user, %s, may not read it: %v; let its group or others read it", name, err)
		}
	}
}

// printFindings writes a line for each.
func printFindings(w io.Writer, findings conffile.Findings) {
	if len(findings) > 0 {
		_, _ = fmt.Fprintln(w, visibleLines(findings.Error()))
	}
}

// reportFindings makes an error of findings that is printed without the name of
// the program in front: editors look for the file at the beginning of a line.
func reportFindings(findings conffile.Findings) error {
	return &reportedError{report: visibleLines(findings.Error()) + "\n", err: withCode(exitConfig, findings)}
}
