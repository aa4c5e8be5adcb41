package program

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"time"
)

// users knows the names of uids, from /etc/passwd alone: a call must not wait
// for a directory server.
type users struct {
	mu       sync.Mutex
	names    map[uint32]string
	modified time.Time
	size     int64
}

const passwdFile = "/etc/passwd"

// userName returns the name of a uid, "" if the file does not have it.
func (ps *Processes) userName(uid uint32) string {
	u := &ps.users
	u.mu.Lock()
	defer u.mu.Unlock()
	info, err := os.Stat(passwdFile)
	if err != nil {
		return ""
	}
	if u.names == nil || !info.ModTime().Equal(u.modified) || info.Size() != u.size {
		text, err := os.ReadFile(passwdFile)
		if err != nil {
			return ""
		}
		u.names, u.modified, u.size = parsePasswd(text), info.ModTime(), info.Size()
	}
	return u.names[uid]
}

// parsePasswd reads the lines of passwd(5): name:password:uid:… The first name
// of a uid counts.
func parsePasswd(text []byte) map[uint32]string {
	names := make(map[uint32]string)
	for line := range bytes.Lines(text) {
		fields := bytes.SplitN(line, []byte(":"), 4)
		if len(fields) < 4 {
			continue
		}
		uid, err := strconv.ParseUint(string(fields[2]), 10, 32)
		if _, known := names[uint32(uid)]; err == nil && !known {
			names[uint32(uid)] = string(fields[0])
		}
	}
	return names
}
