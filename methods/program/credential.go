package program

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"github.com/marianned/marianned/methods/definition"
)

// readUser checks as whom the program is to run.
func (p *Program) readUser(m *definition.Method, findings *definition.Findings) {
	switch {
	case m.User != "" && m.Runner == definition.RunnerChild:
		findings.Add(m.At("user"), "user is %q, but runner = \"child\" runs programs as the daemon's own user: drop one of them", m.User)
	case m.User == "" && m.Runner == definition.RunnerUnit:
		findings.Add(m.At("runner"), "runner = \"unit\" is for a program of another user than the daemon: say who with user, or drop it")
	}
}

// RunAs has the program run as the user of its definition, with the user's groups
// and no other. It is for a process of root. What is wrong is added to findings.
func (p *Program) RunAs(m *definition.Method, findings *definition.Findings) {
	credential, err := credentialOf(m.User)
	if err != nil {
		findings.Add(m.At("user"), "user is %q: %v", m.User, err)
		return
	}
	p.credential = credential
}

// credentialOf looks up a user by name, or by number.
func credentialOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if _, numberErr := strconv.ParseUint(name, 10, 32); numberErr != nil {
			return nil, err
		}
		if u, err = user.LookupId(name); err != nil {
			return nil, err
		}
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("its groups: %w", err)
	}
	ids, err := numbers(append([]string{u.Uid, u.Gid}, groups...))
	if err != nil {
		return nil, err
	}
	c := &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}
	slices.Sort(c.Groups)
	return c, nil
}

func numbers(texts []string) ([]uint32, error) {
	var ids []uint32
	for _, text := range texts {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
