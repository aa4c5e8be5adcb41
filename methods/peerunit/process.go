package peerunit

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/marianned/marianned/rpc"
)

// PeerOf returns what a daemon would know of a process that connected now: for
// explaining, since the pid may be another's a moment later.
func PeerOf(pid int) (*rpc.Peer, error) {
	folder := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(folder + "/status")
	if err != nil {
		return nil, err
	}
	peer := &rpc.Peer{PID: int32(pid)}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		ids, err := parseIDs(value)
		switch key {
		case "Uid", "Gid": // real, effective, saved, of the file system: proc_pid_status(5)
			if err != nil || len(ids) < 2 {
				return nil, fmt.Errorf("%s/status has %q, expected four numbers", folder, line)
			}
			if key == "Uid" {
				peer.UID = ids[1]
			} else {
				peer.GID = ids[1]
			}
		case "Groups":
			if err != nil {
				return nil, fmt.Errorf("%s/status has %q, expected numbers", folder, line)
			}
			peer.Groups = ids
			slices.Sort(peer.Groups)
		}
	}
	text, err := os.ReadFile(folder + "/cgroup")
	var u units
	if err == nil {
		u, err = parseCgroup(string(text))
	}
	peer.Unit, peer.UserUnit, peer.UnitUnknown = u.system, u.user, err != nil
	return peer, nil
}

func parseIDs(text string) (ids []uint32, err error) {
	for field := range strings.FieldsSeq(text) {
		id, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil, err
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
