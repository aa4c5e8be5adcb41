package box

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// Entry is one entry of the journal, systemd.journal-fields(7).
type Entry struct {
	Message   string `json:"MESSAGE"`
	MessageID string `json:"MESSAGE_ID"`
	Priority  string `json:"PRIORITY"`
	PID       string `json:"_PID"`
	// Of is the unit that the service manager speaks about, From the one whose
	// process speaks.
	Of   string `json:"UNIT"`
	From string `json:"_SYSTEMD_UNIT"`
}

func (e Entry) String() string {
	return fmt.Sprintf("%s%s[%s]: %s", e.From, e.Of, e.PID, e.Message)
}

// Journal reads the journal from the moment at which Follow was called.
type Journal struct {
	entries chan Entry
	seen    []Entry
}

// Follow reads the journal of some units from now on, until the end of the test.
// A Journal is for one goroutine.
func (b *Box) Follow(t testing.TB, units ...string) *Journal {
	t.Helper()
	// An entry that comes while journalctl starts is not missed.
	shown := b.Run(t, "journalctl", "--lines=0", "--show-cursor")
	_, cursor, found := strings.Cut(shown, "-- cursor: ")
	if !found {
		t.Fatalf("journalctl --show-cursor: found no cursor in %q", shown)
	}
	args := []string{"journalctl", "--follow", "--output=json", "--no-tail", "--after-cursor=" + strings.TrimSpace(cursor)}
	for _, unit := range units {
		args = append(args, "--unit="+unit)
	}
	ctx, cancel := context.WithCancel(context.Background())
	command := b.Command(ctx, args...)
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatalf("follow the journal: %v", err)
	}
	j := &Journal{entries: make(chan Entry, 64)}
	var reader sync.WaitGroup
	reader.Go(func() { j.read(ctx, out) })
	t.Cleanup(func() {
		cancel()
		reader.Wait()
		_ = command.Wait() // it was killed
	})
	return j
}

func (j *Journal) read(ctx context.Context, out io.Reader) {
	defer close(j.entries)
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var entry Entry
		if json.Unmarshal(line, &entry) != nil {
			entry.Message = string(line) // of one that is binary: shown as it is
		}
		select {
		case j.entries <- entry:
		case <-ctx.Done():
			return
		}
	}
}

// Await waits for the next entry whose message contains text and returns it.
func (j *Journal) Await(t testing.TB, text string) Entry {
	t.Helper()
	return j.AwaitWhere(t, fmt.Sprintf("%q", text), func(e Entry) bool { return strings.Contains(e.Message, text) })
}

// AwaitWhere waits for the next entry that is wanted and returns it.
func (j *Journal) AwaitWhere(t testing.TB, what string, wanted func(Entry) bool) Entry {
	t.Helper()
	late := time.After(Patience)
	for {
		select {
		case entry, open := <-j.entries:
			if !open {
				t.Fatalf("the journal ended; there was no %s in:\n%s", what, j)
			}
			j.seen = append(j.seen, entry)
			if wanted(entry) {
				return entry
			}
		case <-late:
			t.Fatalf("the journal had no %s in %s:\n%s", what, Patience, j)
		}
	}
}

// Seen returns the entries that were waited for and those before them.
func (j *Journal) Seen() []Entry { return j.seen }

// String returns what was seen, an entry a line.
func (j *Journal) String() string {
	var text strings.Builder
	for _, entry := range j.seen {
		fmt.Fprintln(&text, entry)
	}
	return text.String()
}
