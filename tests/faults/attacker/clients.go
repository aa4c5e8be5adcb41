package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// hold calls once and keeps the connection.
func hold(c *connection) {
	c.put(c.appendCall(nil, "rpc.ping", "{}"))
	c.drain()
}

// ordinary makes small calls of all kinds again and again and reads the replies: no
// attack, but what a server is used for.
func ordinary(c *connection) {
	go c.drain()
	var lines []byte
	for ok := true; ok; ok = c.put(lines) {
		c.attacker.pause(10 * time.Millisecond)
		lines = c.appendCall(lines[:0], "rpc.ping", "{}")
		lines = c.appendCall(lines, "rpc.discover", "{}")
		lines = c.appendCall(lines, "rpc.echo", `{"text":"`+strings.Repeat("x", 10_000)+`"}`)
		lines = c.appendCall(lines, "rpc.sleep", `{"ms":1}`)
		lines = c.appendCall(lines, "rpc.ticks", `{"bytes":10}`)
		lines = c.appendCall(lines, "rpc.cancel", fmt.Sprintf(`{"id":%d}`, c.ids))
		lines = append(append(lines, hundreds()[0]...), "rubbish\n"...)
	}
}

// exhaust keeps the connection for up to 300 ms: a place is always about to become
// free, and is always wanted.
func exhaust(c *connection) {
	c.put(c.appendCall(nil, "rpc.ping", "{}"))
	c.attacker.pause(time.Duration(c.rnd.IntN(300)) * time.Millisecond)
}

// connect makes connections and closes them, as fast as it can; every other one
// has sent a call.
func connect(c *connection) {
	for c.attacker.ctx.Err() == nil {
		nc, err := net.Dial("unix", c.attacker.path)
		if err != nil {
			continue // a full backlog
		}
		if c.rnd.IntN(2) == 0 {
			_, _ = nc.Write(c.appendCall(nil, "rpc.echo", `{"n":1}`)) // may be refused meanwhile
		}
		_ = nc.Close()
	}
}

// mixed does any one of the other attacks, for a random time. It says on standard
// output when the first connection is made.
func mixed(c *connection) {
	c.attacker.connected.Do(func() { fmt.Println() })
	names := slices.Sorted(maps.Keys(attacks))
	name := names[c.rnd.IntN(len(names))]
	end := time.AfterFunc(time.Duration(c.rnd.IntN(100))*time.Millisecond, func() { _ = c.Close() })
	defer end.Stop()
	attacks[name](c)
}

// killed starts attackers that do a bit of everything, and kills each with SIGKILL
// up to 200 ms after it has connected.
func killed(a *attacker) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(a.seed, 0))
	for a.ctx.Err() == nil {
		if err := a.kill(self, rnd); err != nil {
			return err
		}
	}
	return nil
}

// kill starts one client and kills it.
func (a *attacker) kill(self string, rnd *rand.Rand) error {
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	client := exec.CommandContext(ctx, self, "-connections", fmt.Sprint(a.connections), "-for", "1m",
		"-seed", fmt.Sprint(rnd.Uint64()), a.path, "mixed")
	client.Stderr = os.Stderr
	client.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	connected, err := client.StdoutPipe()
	if err != nil {
		return err
	}
	if err := client.Start(); err != nil {
		return err
	}
	_, _ = connected.Read(make([]byte, 1)) // an end is seen below
	a.pause(time.Duration(rnd.IntN(200)) * time.Millisecond)
	cancel()
	if err := client.Wait(); client.ProcessState.Exited() {
		return fmt.Errorf("the client to be killed has ended by itself: %w", err)
	}
	return nil
}
