package systemd

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/marianned/marianned/tests/box"
)

// caller is a client that calls record again and again, and connects anew when
// its connection has ended.
type caller struct {
	path    string
	name    string
	history *history
	window  int // calls that it sends at once
	// cuts tells it to send only a part of its next call and wait. nil for a
	// caller that never does.
	cuts chan *cutting

	last int // number of its last call
}

// cutting is a moment at which callers have sent a part of a frame.
type cutting struct {
	// sent gets a value from each caller that has sent its part.
	sent chan struct{}
	// goOn is closed when they shall send the rest.
	goOn chan struct{}
}

// run calls until stop is closed.
func (c *caller) run(stop <-chan struct{}) {
	for !closed(stop) {
		nc := c.connect(stop)
		if nc == nil {
			return
		}
		c.talk(nc, stop)
		_ = nc.Close()
	}
}

func closed(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// connect waits while the backlog is full. A service manager's socket refuses
// nobody, whatever becomes of the service. It returns nil once stop is closed.
func (c *caller) connect(stop <-chan struct{}) net.Conn {
	for ; !closed(stop); time.Sleep(time.Millisecond) {
		nc, err := net.Dial("unix", c.path)
		if err == nil {
			return nc
		}
		if !errors.Is(err, syscall.EAGAIN) {
			c.history.problem("%s can not connect: %v", c.name, err)
		}
	}
	return nil
}

// talk calls until the connection ends, or stop is closed.
func (c *caller) talk(nc net.Conn, stop <-chan struct{}) {
	seen := c.history.connection()
	lines := bufio.NewReader(nc)
	for !closed(stop) {
		var frames []byte
		for range c.window {
			c.last++
			id := fmt.Sprintf("%s-%d", c.name, c.last)
			seen.sent(id)
			frames = fmt.Appendf(frames, `{"jsonrpc":"2.0","id":%q,"method":"record","params":{"id":%q}}`+"\n", id, id)
		}
		_ = nc.SetDeadline(time.Now().Add(box.Patience))
		c.send(nc, frames)
		// That the server has gone is learnt by reading: replies may be there yet.
		for len(seen.open) > 0 {
			line, err := lines.ReadSlice('\n')
			if err != nil {
				seen.ended(line, err)
				return
			}
			seen.received(line)
		}
	}
}

// send writes the frames whole, or in two parts between which the test does
// something.
func (c *caller) send(nc net.Conn, frames []byte) {
	select {
	case cut := <-c.cuts:
		half := len(frames) / 2
		_, _ = nc.Write(frames[:half])
		cut.sent <- struct{}{}
		<-cut.goOn
		frames = frames[half:]
	default:
	}
	_, _ = nc.Write(frames)
}
