package servers

import (
	"bytes"
	"fmt"
	"net"
	"os"

	"github.com/marianned/marianned/tests/bench/workload"
)

// rawEcho is the upper bound for a Go program with a goroutine for each
// connection that acts on whole messages: it holds each line until its end, and
// then writes the reply that the workload has for it. It never looks into a
// line, and answers all lines of one read with one write.
func rawEcho(l net.Listener, w *workload.Workload) error {
	replies := workload.NewTape(w, w.Reply)
	return each(l, func(c *net.UnixConn) {
		defer c.Close()
		if err := answerLines(c, w, replies); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
}

func answerLines(c *net.UnixConn, w *workload.Workload, replies *workload.Tape) error {
	buf := make([]byte, max(16<<10, w.MessageBytes(), min(256<<10, w.Window*w.MessageBytes())))
	if len(buf) > 256<<10 {
		if err := c.SetWriteBuffer(largeWriteBuffer); err != nil {
			return err
		}
	}
	slot, held := 0, 0
	for {
		n, err := c.Read(buf[held:])
		if err != nil {
			return nil // the client has hung up
		}
		got := buf[held : held+n]
		held += n
		lines := bytes.Count(got, newline)
		if lines == 0 {
			if held == len(buf) {
				return fmt.Errorf("found a line of more than %d bytes, expected one of the workload %s", held, w.Name)
			}
			continue
		}
		if _, err := c.Write(replies.Run(slot, lines)); err != nil {
			return nil
		}
		slot = (slot + lines) % replies.Slots()
		held = copy(buf, got[bytes.LastIndexByte(got, '\n')+1:])
	}
}

var newline = []byte{'\n'}

// largeWriteBuffer lets a reply of 1 MiB leave in few pieces (SO_SNDBUF,
// socket(7)). What is more than that brought nothing.
const largeWriteBuffer = 1 << 20
