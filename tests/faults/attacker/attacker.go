package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"
)

// attacker is the connections of one uid.
type attacker struct {
	ctx         context.Context
	path        string
	connections int
	seed        uint64
	connected   sync.Once // says so
}

// attack is what is done on one connection. It returns when the server ends the
// connection, or for another one.
type attack func(*connection)

var attacks = map[string]attack{
	"half-sent":   halfSent,
	"drip":        drip,
	"never-read":  neverRead,
	"flood":       flood,
	"batches":     batches,
	"junk":        junk,
	"connect":     connect,
	"exhaust":     exhaust,
	"sleepers":    sleepers,
	"subscribers": subscribers,
	"cancels":     cancels,
}

// others are what else clients do.
var others = map[string]attack{
	"ordinary": ordinary,
	"hold":     hold,
	"waiters":  waiters,
	"mixed":    mixed,
}

// connection is one connection of an attacker's, which is closed when the time is
// over.
type connection struct {
	*net.UnixConn
	attacker *attacker
	rnd      *rand.Rand
	ids      int
}

// retryInterval keeps an attacker that is refused from becoming a flood of
// connections, which is another attack.
const retryInterval = 100 * time.Millisecond

func (a *attacker) run(do attack) {
	var all sync.WaitGroup
	for i := range a.connections {
		rnd := rand.New(rand.NewPCG(a.seed, uint64(i)))
		all.Go(func() {
			for a.ctx.Err() == nil {
				a.once(do, rnd)
				a.pause(retryInterval)
			}
		})
	}
	all.Wait()
}

func (a *attacker) once(do attack, rnd *rand.Rand) {
	nc, err := new(net.Dialer).DialContext(a.ctx, "unix", a.path)
	if err != nil {
		return // a full backlog, for which the kernel does not let us wait
	}
	stop := context.AfterFunc(a.ctx, func() { _ = nc.Close() })
	defer stop()
	defer func() { _ = nc.Close() }()
	do(&connection{UnixConn: nc.(*net.UnixConn), attacker: a, rnd: rnd})
}

func (a *attacker) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-a.ctx.Done():
	}
}

// put writes b, and reports whether the connection still stands.
func (c *connection) put(b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

// drain reads and forgets until the server ends the connection.
func (c *connection) drain() { _, _ = io.Copy(io.Discard, c) }

// skipLine reads and forgets one line; false at the end.
func skipLine(r *bufio.Reader) bool {
	for {
		_, err := r.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err == nil
		}
	}
}

// appendCall appends the line of a call under an id that this connection did not
// use yet.
func (c *connection) appendCall(b []byte, method, params string) []byte {
	c.ids++
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = strconv.AppendInt(b, int64(c.ids), 10)
	b = append(b, `,"method":"`...)
	b = append(b, method...)
	b = append(b, `","params":`...)
	b = append(b, params...)
	return append(b, "}\n"...)
}
