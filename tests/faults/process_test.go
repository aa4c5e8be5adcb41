package faults

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// memory is what proc(5) says of a process in /proc/PID/status, in bytes.
type memory struct {
	resident  int // VmRSS
	anonymous int // RssAnon: without the pages of the program's own file
	peak      int // VmHWM
}

func memoryOf(pid int) (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	fields := map[string]*int{"VmRSS": &m.resident, "RssAnon": &m.anonymous, "VmHWM": &m.peak}
	found := 0
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if field := fields[name]; field != nil {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				return m, err
			}
			*field = kib << 10
			found++
		}
	}
	if found != len(fields) {
		return m, fmt.Errorf("found %d of %d lines in /proc/%d/status", found, len(fields), pid)
	}
	return m, nil
}

// unreadOutput returns what the kernel holds of what a process wrote to sockets
// and nobody has read, in bytes with the kernel's own overhead (SIOCOUTQ, unix(7)).
// It is counted against the memory of the service, not of the process.
func unreadOutput(pid int) (bytes int, err error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(process) }()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			return 0, err
		}
		fd, err := unix.PidfdGetfd(process, n, 0)
		if err != nil {
			continue // closed meanwhile
		}
		if unread, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil { // fails for what is no socket
			bytes += unread
		}
		_ = unix.Close(fd)
	}
	return bytes, nil
}

// ticksPerSecond is USER_HZ, which is 100 on every machine that Go runs on.
const ticksPerSecond = 100

// processorTime returns what a process has used: utime and stime of proc(5),
// /proc/PID/stat.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	return ticks(t, fields[11]) + ticks(t, fields[12])
}

// machineTime returns what all processors were busy with and what they could have
// been: /proc/stat.
func machineTime(t *testing.T) (busy, all time.Duration) {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	require.NoError(t, err)
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	for i, field := range bytes.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal
		time := ticks(t, field)
		all += time
		if i != 3 && i != 4 {
			busy += time
		}
	}
	return busy, all
}

func ticks(t *testing.T, field []byte) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(string(field))
	require.NoError(t, err)
	return time.Duration(n) * time.Second / ticksPerSecond
}
