package rpc

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// ledger counts the bytes of input and output that are held for clients, in all
// and for each uid. What is small or short-lived passes it by: the first buffer
// of a connection for input, and replies that the socket takes at once.
//
// Small things are charged, whatever the sum; what bounds them is that a
// connection which holds connectionWindow is read no further while the sum is
// high. Input that needs a large buffer reserves it first, and waits for it.
// The last reservedBytes are kept for one such buffer at a time, so that a
// large message always gets through, however many others are half sent.
type ledger struct {
	held atomic.Int64 // without the reserve
	max  atomic.Int64

	// Guarded by admission.mu.
	reserve      int  // bytes of max that are kept back
	reserveTaken bool // by one buffer
	waiting      []*reservation
	// anyWaiting is len(waiting) > 0, for who gives bytes back without the lock.
	anyWaiting atomic.Bool
}

// account is what one uid has taken. It lives as long as the uid has a
// connection.
type account struct {
	uid         uint32
	connections int // guarded by admission.mu
	held        atomic.Int64
	slots       atomic.Int32
	// front and looking are of those crowds.
	front, looking rank
}

func newAccount(uid uint32) *account { return &account{uid: uid} }

// reservation is a wait for a large buffer. granted gets one grant, unless the
// wait was withdrawn.
type reservation struct {
	account *account
	size    int
	trusted bool
	granted chan grant
}

// grant is what a buffer holds of the ledger.
type grant struct {
	bytes       int  // charged; 0 if nothing
	fromReserve bool // the reserve, whatever its size
}

// pressed reports whether so much is held that connections must hold less.
func (l *ledger) pressed() bool { return l.held.Load() > l.max.Load()/2 }

// over reports whether more is held than may be.
func (l *ledger) over() bool { return l.held.Load() > l.max.Load() }

// share is the most that large messages of one uid may hold. The half leaves
// room for others, as MaxConnectionsPerUID does.
func (l *ledger) share() int64 { return l.max.Load() / 2 }

func (l *ledger) add(acct *account, n int) {
	l.held.Add(int64(n))
	acct.held.Add(int64(n))
}

// takeLocked charges a large buffer if there is room for it beside the reserve.
func (l *ledger) takeLocked(acct *account, n int, trusted bool) bool {
	if !trusted && acct.held.Load()+int64(n) > l.share() {
		return false
	}
	limit := l.max.Load() - int64(l.reserve)
	for {
		held := l.held.Load()
		if held+int64(n) > limit {
			return false
		}
		if l.held.CompareAndSwap(held, held+int64(n)) {
			acct.held.Add(int64(n))
			return true
		}
	}
}

// grantLocked serves those who wait: the uid that holds least goes first, and
// of its messages the one that has waited longest. Who does not fit lets the
// others pass, and gets the reserve once it is free.
func (l *ledger) grantLocked() {
	for len(l.waiting) > 0 {
		slices.SortStableFunc(l.waiting, func(a, b *reservation) int {
			return cmp.Compare(a.account.held.Load(), b.account.held.Load())
		})
		i := slices.IndexFunc(l.waiting, func(r *reservation) bool { return l.takeLocked(r.account, r.size, r.trusted) })
		switch {
		case i >= 0:
			l.waiting[i].granted <- grant{bytes: l.waiting[i].size}
		case !l.reserveTaken:
			i, l.reserveTaken = 0, true
			l.waiting[0].granted <- grant{fromReserve: true}
		default:
			return
		}
		l.forgetLocked(i)
	}
}

func (l *ledger) forgetLocked(i int) {
	l.waiting = slices.Delete(l.waiting, i, i+1)
	l.anyWaiting.Store(len(l.waiting) > 0)
}

// total is what is held, the reserve included.
func (l *ledger) totalLocked() int {
	n := int(l.held.Load())
	if l.reserveTaken {
		n += l.reserve
	}
	return n
}
