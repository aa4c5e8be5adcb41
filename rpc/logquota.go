package rpc

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Of the lines that clients can cause, linesPerInterval are logged in each
// logInterval: a log that a client fills is an attack on all that log.
const (
	logInterval      = 10 * time.Second
	linesPerInterval = 100
)

// logQuota bounds such lines. The line after some that were left out says how
// many.
type logQuota struct {
	mu      sync.Mutex
	since   time.Time
	lines   int
	leftOut int
}

func (q *logQuota) take(now time.Time) (ok bool, leftOut int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.since) >= logInterval {
		q.since, q.lines = now, 0
	}
	if q.lines == linesPerInterval {
		q.leftOut++
		return false, 0
	}
	q.lines++
	leftOut, q.leftOut = q.leftOut, 0
	return true, leftOut
}

// complain logs a line about c that its client caused, within the quota.
func (c *conn) complain(level logrus.Level, fields logrus.Fields, text string) {
	ok, leftOut := c.srv.quota.take(time.Now())
	if !ok {
		return
	}
	entry := c.log().WithFields(fields)
	if leftOut > 0 {
		entry = entry.WithField("lines_left_out", leftOut)
	}
	entry.Log(level, text)
}
