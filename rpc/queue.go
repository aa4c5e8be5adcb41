package rpc

import "container/list"

// fairQueue holds calls that wait, in one line for each uid. The uid that has
// fewest slots is served first, and those that have equally many take turns:
// whoever sends a thousand calls, or slow ones, waits behind whoever sends one.
// It is guarded by admission.mu; the zero value is empty.
type fairQueue struct {
	length int
	lines  map[uint32]*line
	turns  list.List // of *line: whose turn is next
}

// line holds the calls of one uid, in the order in which they came.
type line struct {
	account *account
	calls   list.List // of *call
	turn    *list.Element
}

// ticket is a call's place in a fairQueue.
type ticket struct {
	queue   *fairQueue // nil while the call waits nowhere
	element *list.Element
}

func (q *fairQueue) push(c *call) {
	acct := c.conn.guest.account
	l := q.lines[acct.uid]
	if l == nil {
		if q.lines == nil {
			q.lines = make(map[uint32]*line)
		}
		l = &line{account: acct}
		l.turn = q.turns.PushBack(l)
		q.lines[acct.uid] = l
	}
	c.place.waits = ticket{q, l.calls.PushBack(c)}
	q.length++
}

// first returns the line whose turn it is; nil if nobody waits.
func (q *fairQueue) first() (best *line) {
	for e := q.turns.Front(); e != nil; e = e.Next() {
		if l := e.Value.(*line); best == nil || l.account.slots.Load() < best.account.slots.Load() {
			best = l
		}
	}
	return best
}

// peek returns the call that pop will take.
func (q *fairQueue) peek() *call {
	if l := q.first(); l != nil {
		return l.calls.Front().Value.(*call)
	}
	return nil
}

// pop takes the first call of the uid that is to be served next; nil if there
// is none.
func (q *fairQueue) pop() *call {
	l := q.first()
	if l == nil {
		return nil
	}
	c := l.calls.Front().Value.(*call)
	q.turns.MoveToBack(l.turn)
	q.remove(c)
	return c
}

// remove takes a call out, wherever it stands.
func (q *fairQueue) remove(c *call) {
	l := q.lines[c.conn.guest.account.uid]
	l.calls.Remove(c.place.waits.element)
	c.place.waits = ticket{}
	q.length--
	if l.calls.Len() == 0 {
		q.turns.Remove(l.turn)
		delete(q.lines, l.account.uid)
	}
}
