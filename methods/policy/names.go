package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// Names looks up users and groups. Either fails for a name that is not known.
type Names interface {
	User(name string) (uid uint32, err error)
	Group(name string) (gid uint32, err error)
}

// System looks names up in /etc/passwd and /etc/group, and then, for other
// databases of nsswitch.conf(5), by getent(1).
type System struct{}

// User returns the uid of a user.
func (System) User(name string) (uint32, error) {
	text := ""
	if u, err := user.Lookup(name); err == nil {
		text = u.Uid
	} else {
		text = getent("passwd", name)
	}
	return identifier(text, "user", name)
}

// Group returns the gid of a group.
func (System) Group(name string) (uint32, error) {
	text := ""
	if g, err := user.LookupGroup(name); err == nil {
		text = g.Gid
	} else {
		text = getent("group", name)
	}
	return identifier(text, "group", name)
}

func identifier(text, what, name string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("there is no %s %q", what, name)
	}
	return uint32(id), nil
}

// getentTimeout bounds what an absent directory server can cost.
const getentTimeout = 5 * time.Second

// getent returns the number in an entry, or "".
func getent(database, name string) string {
	if strings.HasPrefix(name, "-") || strings.ContainsAny(name, ":\n\x00") {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), getentTimeout)
	defer cancel()
	line, err := exec.CommandContext(ctx, "/usr/bin/getent", database, name).Output()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return ""
	}
	fields := bytes.Split(line, []byte(":"))
	if len(fields) < 3 || string(fields[0]) != name {
		return ""
	}
	return string(bytes.TrimSpace(fields[2]))
}
