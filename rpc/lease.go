package rpc

// Most calls find a free slot and end within a microsecond, and of that each of the
// atomic operations that take a slot and give it back is a part. So a reader that
// has more to read keeps its slot for the next call, unless somebody waits for one,
// and until it would have to wait itself: rd.lease.

// lend lets the reader keep the slot of a call that has ended, and reports whether
// it does.
func (c *conn) lend(rd *reader, cl *call) bool {
	if !cl.place.slot || cl.place.gate != nil || !rd.frames.partial() || c.srv.adm.slotsGuarded() {
		return false
	}
	cl.place.slot, rd.lease = false, true
	return true
}

// useLease gives a call the slot that the reader has kept.
func (c *conn) useLease(rd *reader, cl *call) bool {
	if !rd.lease {
		return false
	}
	if cl.method.Control || cl.method.MaxConcurrent > 0 || c.srv.adm.slotsGuarded() {
		c.endLease(rd)
		return false
	}
	cl.place.slot, rd.lease = true, false
	return true
}

// endLease gives back the slot that the reader has kept.
func (c *conn) endLease(rd *reader) {
	if !rd.lease {
		return
	}
	rd.lease = false
	if next := c.srv.adm.releaseSlot(c.guest.account, nil); next != nil {
		next.start()
	}
}
