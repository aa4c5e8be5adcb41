package rpc

// Taking memory for a large message, reading it and looking at it takes time by its
// size: a page costs microseconds when it is first touched, so that 256 KiB that
// arrive may take as long as a thousand small calls. Of hundreds of readers that
// are ready to run, the runtime lets each have its turn before the one that has a
// small call. So a few of them look at a time: Server.looking has an element for
// each. The others wait where they delay nobody.

// isLong reports whether n bytes take so long that others would notice.
func isLong(n int) bool { return n > freelyTaken }

// beginLook comes before what takes time by n bytes, endLook behind it. Who waits
// there is not in front: small messages of the same uid pass it by. front says
// that it was, for endLook.
func (c *conn) beginLook(rd *reader, n int) (front bool) {
	if !isLong(n) || rd.looking {
		return false
	}
	front = rd.position != behind
	c.stepBack(rd)
	c.srv.looking <- struct{}{}
	rd.looking = true
	return front
}

// endLook does nothing where beginLook did not.
func (c *conn) endLook(rd *reader, front bool) {
	if !rd.looking {
		return
	}
	rd.looking = false
	<-c.srv.looking
	if front {
		c.stepForward(rd)
	}
}
