package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"github.com/marianned/marianned/rpc"
)

// outcome is what a client knows of a call that it has sent.
type outcome int

const (
	pending  outcome = iota // no answer yet
	answered                // with its result
	refused                 // because the server shuts down, executed "no"
	cut                     // the connection ended first
)

// history is what all clients of a test have seen. Each id is sent once.
type history struct {
	mu          sync.Mutex
	calls       map[string]outcome
	connections int
	notices     int // connections that the server refused as a whole
	problems    []string
}

func newHistory() *history { return &history{calls: map[string]outcome{}} }

// problem notes what must not happen.
func (h *history) problem(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problemLocked(format, args...)
}

func (h *history) problemLocked(format string, args ...any) {
	h.problems = append(h.problems, fmt.Sprintf(format, args...))
}

// connection is what one client sees of one connection.
type connection struct {
	*history
	open   map[string]bool // calls without an answer
	served bool            // one has been answered
	notice bool            // the server has refused the connection
}

func (h *history) connection() *connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.connections++
	return &connection{history: h, open: map[string]bool{}}
}

// sent is called before the first byte of a call is written.
func (c *connection) sent(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, found := c.calls[id]; found {
		c.problemLocked("%s was sent twice", id)
	}
	c.calls[id] = pending
	c.open[id] = true
}

// received takes in one line of the server's.
func (c *connection) received(line []byte) {
	var reply struct {
		ID     *string
		Result *string
		Error  *struct {
			Code int
			Data rpc.ErrorData
		}
	}
	err := json.Unmarshal(line, &reply)
	c.mu.Lock()
	defer c.mu.Unlock()
	notExecuted := reply.Error != nil && reply.Error.Code == rpc.CodeShuttingDown && reply.Error.Data.Executed == rpc.ExecutedNo
	switch {
	case err != nil:
		c.problemLocked("found %q, expected a reply: %v", line, err)
	case reply.ID == nil && notExecuted && !c.served && !c.notice:
		c.notice = true
		c.notices++
	case reply.ID == nil:
		c.problemLocked("found %q, expected a reply with an id", line)
	case !c.open[*reply.ID]:
		c.problemLocked("%s was not open on its connection when it was answered %s", *reply.ID, line)
	case reply.Result != nil && *reply.Result == *reply.ID:
		c.closeLocked(*reply.ID, answered)
	case notExecuted:
		c.closeLocked(*reply.ID, refused)
	default:
		c.problemLocked("%s was answered with %s", *reply.ID, line)
	}
}

func (c *connection) closeLocked(id string, how outcome) {
	c.served = true
	delete(c.open, id)
	c.calls[id] = how
}

// ended takes in the end of the connection, after some bytes that are no whole
// line. A server that has refused a connection does not read what comes over it:
// then, and only then, the kernel may report a reset (unix(7), ECONNRESET).
func (c *connection) ended(rest []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.notice && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
	case !errors.Is(err, io.EOF):
		c.problemLocked("a connection failed: %v", err)
	case len(rest) > 0:
		c.problemLocked("a connection ended within the message %q", rest)
	}
	for id := range c.open {
		c.calls[id] = cut
		if c.notice {
			c.calls[id] = refused
		}
	}
}

// check compares what clients saw with what the server has executed, an id a
// line. After it each call was answered, and executed once; or refused or cut,
// and not executed: nobody needs to guess.
func (h *history) check(record string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	executed := map[string]int{}
	for id := range strings.Lines(record) {
		executed[strings.TrimSuffix(id, "\n")]++
	}
	for id, state := range h.calls {
		switch times := executed[id]; {
		case state == pending:
			h.problemLocked("%s was neither answered nor was its connection ended", id)
		case state == answered && times != 1:
			h.problemLocked("%s was answered, and executed %d times", id, times)
		case state != answered && times != 0:
			h.problemLocked("%s was %v, and executed %d times", id, state, times)
		}
	}
	for id := range executed {
		if _, found := h.calls[id]; !found {
			h.problemLocked("%s was executed, and never sent", id)
		}
	}
}

// count returns how many calls have an outcome.
func (h *history) count(o outcome) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, state := range h.calls {
		if state == o {
			n++
		}
	}
	return n
}

func (o outcome) String() string {
	return [...]string{"pending", "answered", "refused", "cut"}[o]
}
