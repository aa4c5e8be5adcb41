package main

import (
	"bufio"
	"fmt"
	"time"
)

// flood sends small calls as fast as the server takes them, and reads as fast as
// it answers.
func flood(c *connection) {
	go c.drain()
	var lines []byte
	for ok := true; ok; ok = c.put(lines) {
		lines = lines[:0]
		for range 64 {
			lines = c.appendCall(lines, "rpc.echo", `{"n":1}`)
		}
	}
}

// unanswered is how many calls of one connection may be on their way
// (MaxInFlightPerConnection).
const unanswered = 64

// sleepers keeps as many calls on their way as the connection may have, each of
// which takes 10 to 50 ms.
func sleepers(c *connection) {
	replies := bufio.NewReader(c)
	for range unanswered {
		if !c.put(c.sleep()) {
			return
		}
	}
	for skipLine(replies) && c.put(c.sleep()) {
	}
}

func (c *connection) sleep() []byte {
	return c.appendCall(nil, "rpc.sleep", fmt.Sprintf(`{"ms":%d}`, 10+c.rnd.IntN(40)))
}

// waiters makes 25 calls, which last until somebody ends them.
func waiters(c *connection) {
	var lines []byte
	for range 25 {
		lines = c.appendCall(lines, "rpc.hold", "{}")
	}
	c.put(lines)
	c.drain()
}

// subscribers opens as many streams as it gets and reads nothing. Its pings tell
// when the server has ended the connection.
func subscribers(c *connection) {
	var lines []byte
	for i := range 10 {
		method := []string{"rpc.ticks", "rpc.last"}[i%2]
		lines = c.appendCall(lines, method, `{"bytes":10000}`)
	}
	for ok := c.put(lines); ok; ok = c.put([]byte(`{"jsonrpc":"2.0","method":"rpc.ping"}` + "\n")) {
		c.attacker.pause(50 * time.Millisecond)
	}
}

// cancels sends calls together with their cancels, twice, and cancels of calls
// that do not exist.
func cancels(c *connection) {
	go c.drain()
	var lines []byte
	for ok := true; ok; ok = c.put(lines) {
		lines = lines[:0]
		for range 16 {
			lines = append(lines, c.sleep()...)
			call := c.ids
			lines = c.appendCall(lines, "rpc.cancel", fmt.Sprintf(`{"id":%d}`, call))
			lines = fmt.Appendf(lines, `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%d}}`+"\n", call)
			lines = c.appendCall(lines, "rpc.cancel", fmt.Sprintf(`{"id":"%d"}`, c.rnd.Int()))
		}
	}
}
