package rpc

import (
	"runtime"
	"time"
)

// crowd lets a few readers of one uid go on at a time, while others have
// connections too and more goroutines are ready to run than there are processors.
// The runtime takes them in the order in which they became ready, and looks for
// input on idle connections when none is left, or 100 times a second: hundreds of
// connections of one user with something to do at every moment stood before the
// one small call of another.
//
// Who waits for input, for memory, or for its peer to read is not in front: nobody
// waits there for longer than others use a processor. A handler that is slow loses
// its reader (takeover.go), which stays in front without it.
type crowd chan struct{}

func newCrowd() crowd { return make(crowd, runtime.GOMAXPROCS(0)) }

// stepForward waits until the reader is in front.
func (c *conn) stepForward(rd *reader) {
	if !rd.front {
		c.endLease(rd)
		c.guest.account.front <- struct{}{}
		rd.front = true
	}
}

// stepBack comes before whatever may let the reader wait, other than a handler: it
// lets the next go in front, and gives its slot and its place of looking back.
func (c *conn) stepBack(rd *reader) {
	c.endLease(rd)
	c.endLook(rd, false)
	if rd.front {
		<-c.guest.account.front
		rd.front = false
	}
}

// crowdedFor is how long a crowd is taken to last after it was last seen. What is
// done about it makes it look as if it had gone.
const crowdedFor = 200 * time.Millisecond

// pace is that of the accept loop in a crowd: clients that come and go as fast as
// they can must not keep the processors from those that are there. They wait in
// the kernel's backlog. It holds for the mean: a loop that got no processor for a
// while may catch up.
type pace struct{ next time.Time }

const (
	paceInterval = 250 * time.Microsecond // between two connections
	paceCatchUp  = 100 * time.Millisecond // at most
	paceRest     = time.Millisecond       // at least: shorter ones are none
)

// step notes a connection that was accepted now, and returns how long the next
// one has to wait.
func (p *pace) step(now time.Time) (ahead time.Duration) {
	if late := now.Add(-paceCatchUp); p.next.Before(late) {
		p.next = late
	}
	p.next = p.next.Add(paceInterval)
	return p.next.Sub(now)
}
