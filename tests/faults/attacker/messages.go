package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

var opening = []byte(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo","params":{"text":"`)

// What is large is made once, for all connections, and only by who sends it: who
// burns processor time has it counted.
var (
	half = sync.OnceValue(func() []byte { return append(bytes.Clone(opening), bytes.Repeat([]byte{'x'}, 15<<20)...) })
	mega = sync.OnceValue(func() []byte { return fmt.Appendf(nil, `{"text":"%s"}`, strings.Repeat("x", 1<<20)) })
)

// halfSent sends 15 MiB of a frame and never its end.
func halfSent(c *connection) {
	if c.put(half()) {
		c.drain()
	}
}

// drip sends nothing, or as much of a frame as never waits for memory, and then
// one byte now and again.
func drip(c *connection) {
	start := opening
	if c.rnd.IntN(2) == 0 {
		start = half()[:60<<10]
	}
	for ok := c.put(start); ok; ok = c.put([]byte{'x'}) {
		c.attacker.pause(50 * time.Millisecond)
	}
}

// neverRead calls for 1 MiB again and again and reads no reply.
func neverRead(c *connection) {
	for ok := true; ok; {
		head, tail, _ := bytes.Cut(c.appendCall(nil, "rpc.echo", "?"), []byte{'?'})
		_, err := (&net.Buffers{head, mega(), tail}).WriteTo(c)
		ok = err == nil
	}
}

// batches sends batches of 100 items, each when the one before is answered: small
// ones, and ones that are themselves as large as a message may be, with a reply of
// that size.
func batches(c *connection) {
	replies := bufio.NewReader(c)
	for c.put(hundreds()[c.rnd.IntN(2)]) && skipLine(replies) {
	}
}

var hundreds = sync.OnceValue(func() [2][]byte {
	return [...][]byte{hundred(`{"text":"x"}`), hundred(string(mega()[:150<<10]) + `"}`)}
})

func hundred(params string) []byte {
	frame := []byte{'['}
	c := new(connection) // only its ids are used
	for range 100 {
		frame = append(bytes.TrimSuffix(c.appendCall(frame, "rpc.echo", params), []byte{'\n'}), ',')
	}
	frame[len(frame)-1] = ']'
	return append(frame, '\n')
}

// rubbish is frames that no server should like. All but the last two are whole.
var rubbish = sync.OnceValue(func() [][]byte {
	var frames [][]byte
	add := func(format string, args ...any) { frames = append(frames, fmt.Appendf(nil, format+"\n", args...)) }
	long := strings.Repeat("x", 1<<20)
	add("%s%s", strings.Repeat("[", 1<<20), strings.Repeat("]", 1<<20))
	add(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo","params":%s1%s}`, strings.Repeat(`{"a":[`, 1<<18), strings.Repeat("]}", 1<<18))
	add(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo","params":%s%s}`, strings.Repeat("[", 990), strings.Repeat("]", 990))
	add(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo","params":["%s`+"\xff"+`"]}`, long)
	add(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo","params":["` + "\xed\xa0\x80\xc0\xaf" + `"]}`)
	add(`{"jsonrpc":"2.0","id":"%s","method":"rpc.echo","params":{}}`, long)
	add(`{"jsonrpc":"2.0","id":1%s,"method":"rpc.echo","params":{}}`, strings.Repeat("0", 1<<20))
	add(`{"jsonrpc":"2.0","id":"%s","method":"%s"}`, long, long)
	add(`{"jsonrpc":"2.0","id":1,"method":"%s"}`, strings.Repeat(`\u0000`, 1<<18))
	add(`{"jsonrpc":"2.0","id":1,"method":"rpc.echo"%s}`, strings.Repeat(`,"id":1`, 1<<18))
	add(`{%s"jsonrpc":"2.0","id":1,"method":"rpc.ping"}`, strings.Repeat(`"a":{},`, 1<<18))
	add(`{"jsonrpc":"2.0","id":1,"method":"rpc.cancel","params":{"id":"%s"}}`, long)
	add("%s", strings.Repeat("\r\n \t", 1<<18))
	add("%s", strings.Repeat("\x00", 1<<20))
	add(`[%s1]`, strings.Repeat("1,", 1<<20))
	frames = append(frames, bytes.Repeat([]byte("\x80"), 1<<20), []byte(`{"jsonrpc":"2.0","id":"`+long))
	return frames
})

// junk sends rubbish in any order and forgets the replies.
func junk(c *connection) {
	go c.drain()
	for all := rubbish(); c.put(all[c.rnd.IntN(len(all))]); {
	}
}
