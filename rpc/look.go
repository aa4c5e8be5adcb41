package rpc

import "time"

// Taking memory for a large message, reading it and looking at it takes time by its
// size: a page costs microseconds when it is first touched, so that 256 KiB that
// arrive may take as long as a thousand small calls. Of hundreds of readers that
// are ready to run, the runtime lets each have its turn before the one that has a
// small call. So a few of them look at a time; the others queue up in a crowd of
// their own, Server.looking, where they delay nobody.

// isLong reports whether n bytes take so long that others would notice.
func isLong(n int) bool { return n > freelyTaken }

// beginLook comes before what takes time by n bytes, endLook behind it. Who waits
// there is not in front: small messages of the same uid pass it by.
func (c *conn) beginLook(rd *reader, n int) {
	if isLong(n) && rd.looking == behind {
		c.stepBack(rd)
		rd.looking, _ = c.srv.looking.pass(&c.guest.account.looking, rd)
	}
}

// endLook does nothing where beginLook did not.
func (c *conn) endLook(rd *reader) {
	if rd.looking != behind {
		c.srv.looking.leave(&c.guest.account.looking, rd.looking)
		rd.looking = behind
	}
}

// mustQueue reports whether the reader has to queue up before it reads.
func (c *conn) mustQueue(rd *reader) bool {
	if isLong(rd.frames.size()) {
		return rd.looking == behind
	}
	return c.srv.crowded() && rd.front == behind
}

// queueUp waits until the reader may read what is there.
func (c *conn) queueUp(rd *reader) {
	began := time.Now()
	if size := rd.frames.size(); isLong(size) {
		c.beginLook(rd, size)
	} else {
		c.stepForward(rd)
	}
	rd.frames.kept(time.Since(began))
}
