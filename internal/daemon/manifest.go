package daemon

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/marianned/marianned/rpc"
)

// A manifest says of each connection that the service manager keeps what only the
// process knew that has served it: a line of JSON, then the input of all
// connections in the order of the line. It is a memory file that nobody can change
// any more.

// manifestVersion changes with every change of its form or meaning. A daemon reads
// no other than its own, for a call half understood is worse than a connection
// lost.
const manifestVersion = 1

type manifest struct {
	Version     int              `json:"version"`
	Connections []keptConnection `json:"connections"`
}

// keptConnection is a connection in a manifest. What the kernel knows of its peer
// it is asked again.
type keptConnection struct {
	// Cookie is the kernel's name for the socket (SO_COOKIE, socket(7)), which no
	// other has had since the machine was started.
	Cookie      uint64 `json:"cookie"`
	Socket      string `json:"socket"`
	Unit        string `json:"unit,omitempty"`
	UserUnit    string `json:"user_unit,omitempty"`
	UnitUnknown bool   `json:"unit_unknown,omitempty"`
	InputBytes  int    `json:"input_bytes"`

	place int // in the manifest
	input []byte
}

func describeKept(k rpc.Kept, cookie uint64) keptConnection {
	return keptConnection{
		Cookie: cookie, Socket: k.Peer.Socket,
		Unit: k.Peer.Unit, UserUnit: k.Peer.UserUnit, UnitUnknown: k.Peer.UnitUnknown,
		InputBytes: len(k.Input), input: k.Input,
	}
}

// completes adds to what the kernel says of a peer.
func (k keptConnection) completes(peer *rpc.Peer) {
	peer.Socket, peer.Unit, peer.UserUnit, peer.UnitUnknown = k.Socket, k.Unit, k.UserUnit, k.UnitUnknown
}

const manifestSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// writeManifest returns a sealed file. It needs no more memory than that file.
func writeManifest(connections []keptConnection) (*os.File, error) {
	fd, err := unix.MemfdCreate("marianned-connections", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "manifest")
	err = func() error {
		w := bufio.NewWriter(file)
		if err := json.NewEncoder(w).Encode(manifest{manifestVersion, connections}); err != nil {
			return err
		}
		for _, c := range connections {
			if _, err := w.Write(c.input); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, manifestSeals)
		return err
	}()
	if err != nil {
		_ = file.Close() // err says more
		return nil, fmt.Errorf("write the manifest of connections: %w", err)
	}
	return file, nil
}

// readManifest returns the connections of a manifest by their cookies.
func readManifest(file *os.File) (map[uint64]keptConnection, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var seals int
	if controlErr := raw.Control(func(fd uintptr) { seals, err = unix.FcntlInt(fd, unix.F_GET_SEALS, 0) }); controlErr != nil {
		return nil, controlErr
	}
	if err != nil || seals&manifestSeals != manifestSeals {
		return nil, errors.New("it is not a sealed memory file")
	}
	r := bufio.NewReader(io.NewSectionReader(file, 0, info.Size()))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("its first line: %w", err)
	}
	var version struct{ Version int }
	if err := json.Unmarshal(line, &version); err != nil {
		return nil, fmt.Errorf("its first line: %w", err)
	}
	if version.Version != manifestVersion {
		return nil, fmt.Errorf("it is of version %d, expected %d: another version of the daemon has written it", version.Version, manifestVersion)
	}
	var m manifest
	if err := json.Unmarshal(line, &m); err != nil {
		return nil, fmt.Errorf("its first line: %w", err)
	}
	kept := make(map[uint64]keptConnection, len(m.Connections))
	left := info.Size() - int64(len(line))
	for i, c := range m.Connections {
		c.place = i
		if c.InputBytes < 0 || int64(c.InputBytes) > left {
			return nil, fmt.Errorf("it has %d bytes of input for a connection that is said to have sent %d", left, c.InputBytes)
		}
		c.input = make([]byte, c.InputBytes)
		if _, err := io.ReadFull(r, c.input); err != nil {
			return nil, err
		}
		left -= int64(c.InputBytes)
		kept[c.Cookie] = c
	}
	return kept, nil
}
