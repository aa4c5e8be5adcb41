package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// simClient is one client: what it has sent, and what it may get for it. It
// belongs to the goroutine that drives the simulation.
type simClient struct {
	sim    *simulation
	number int
	uid    uint32
	end    *simEnd

	outbox []byte // not yet sent
	queued int    // bytes that were put there, in all
	line   []byte // the beginning of one that is not complete

	lastID  int
	order   []*simRequest
	byID    map[string]*simRequest
	batches []*simBatch
	// Frames that are answered under no id, and such answers.
	nameless, namelessAnswers int
	lostBatches               int // arrays that were too large
	notices                   []string

	stalledReading, stalledWriting bool
	slow                           bool   // has not always read, since it was last done with it
	dripped                        bool   // has not always written
	left                           bool   // has closed its end, or half of it
	ended                          bool   // knows that the server has closed its end
	reason                         string // why it did, in the server's log
}

// simRequest is one call or notification.
type simRequest struct {
	id        string // raw; "" for a notification
	method    string
	work      simWork
	behind    int // how many bytes the client has sent when the frame is complete
	batch     *simBatch
	sent      int // how often the id was used
	answers   int
	code      int // of the answer; 0 for a result
	executed  Executed
	cancelled bool
	// cancels is the call that this one, an rpc.cancel, is to cancel.
	cancels  *simRequest
	took     bool // of the cancel: it said that it has cancelled
	sequence int  // of the last event
}

type simBatch struct{ calls []*simRequest }

func (c *simClient) problem(format string, args ...any) {
	c.sim.problem("client %d: %s", c.number, fmt.Sprintf(format, args...))
}

// ---- Sending

// queue puts a frame into the outbox.
func (c *simClient) queue(frame string, requests ...*simRequest) {
	if c.left || c.ended {
		return
	}
	c.outbox = append(append(c.outbox, frame...), '\n')
	c.queued += len(frame) + 1
	for _, r := range requests {
		r.behind = c.queued
		c.order = append(c.order, r)
		if r.id == "" {
			continue
		}
		if first := c.byID[r.id]; first != nil {
			first.sent++
			first.behind = c.queued // what is still in the outbox has no answer yet
		} else {
			r.sent = 1
			c.byID[r.id] = r
		}
	}
}

// pump moves what can be moved without waiting.
func (c *simClient) pump() (moved bool) {
	if !c.stalledWriting && len(c.outbox) > 0 && !c.left {
		n := c.end.put(c.outbox)
		c.outbox = c.outbox[n:]
		moved = n > 0
	}
	if !c.stalledReading {
		got := c.end.take(1 << 20)
		moved = moved || len(got) > 0
		c.receive(got)
	}
	if _, toClient, _, ended := c.end.state(); ended && toClient == 0 && !c.ended && !c.stalledReading {
		c.ended, moved = true, true
	}
	return moved
}

// trickle moves some bytes, whether or not the client stalls.
func (c *simClient) trickle(n int) {
	if !c.left {
		k := c.end.put(c.outbox[:min(n, len(c.outbox))])
		c.outbox = c.outbox[k:]
	}
	c.receive(c.end.take(n))
}

// struck reports whether a fault costs the client its connection.
func (c *simClient) struck() bool { return c.sim.net.fault.costs(c.end.simConn) }

// delivered reports whether the server has read the whole frame of r.
func (c *simClient) delivered(r *simRequest) bool {
	_, _, consumed, _ := c.end.state()
	return r.behind <= consumed
}

// ---- Receiving

func (c *simClient) receive(b []byte) {
	c.line = append(c.line, b...)
	for {
		n := bytes.IndexByte(c.line, '\n')
		if n < 0 {
			return
		}
		c.takeIn(c.line[:n])
		c.line = c.line[n+1:]
	}
}

func (c *simClient) takeIn(line []byte) {
	if c.left || c.struck() {
		return
	}
	if line[0] != '[' {
		var r reply
		if err := json.Unmarshal(line, &r); err != nil {
			c.problem("%v in %.200q", err, line)
			return
		}
		c.outcome(r, nil, line)
		return
	}
	var replies []reply
	if err := json.Unmarshal(line, &replies); err != nil || len(replies) == 0 {
		c.problem("%v in %.200q", err, line)
		return
	}
	in := new(simBatch)
	for _, r := range replies {
		c.outcome(r, in, line)
	}
}

// outcome takes in one reply or event; in is the array that it stands in, nil
// for none.
func (c *simClient) outcome(r reply, in *simBatch, line []byte) {
	if r.Method != "" {
		c.event(line)
		return
	}
	if (r.Result == nil) == (r.Error == nil) {
		c.problem("a reply with both or neither: %.200s", line)
		return
	}
	if string(r.ID) == "null" {
		c.withoutID(r, in, line)
		return
	}
	request := c.byID[string(r.ID)]
	if request == nil {
		c.problem("a reply for nothing: %.200s", line)
		return
	}
	request.answers++
	if request.answers > request.sent {
		c.problem("call %s was answered %d times and sent %d times: %.200s", r.ID, request.answers, request.sent, line)
	}
	if request.sent > 1 {
		return // which of them it is can not be told
	}
	if (request.batch == nil) != (in == nil) {
		c.problem("call %s was sent in a batch (%t), and answered in one (%t)", r.ID, request.batch != nil, in != nil)
	} else if in != nil {
		c.sameBatch(request, in)
	}
	c.check(request, r, line)
}

// sameBatch checks that the replies of an array are to calls of one batch.
func (c *simClient) sameBatch(r *simRequest, in *simBatch) {
	if in.calls = append(in.calls, r); in.calls[0].batch != r.batch {
		c.problem("calls %s and %s of two batches are answered in one array", in.calls[0].id, r.id)
	}
}

// withoutID takes in an error under no id.
func (c *simClient) withoutID(r reply, in *simBatch, line []byte) {
	reason, _ := r.Error.Data["reason"].(string)
	switch reason {
	case ReasonDuplicateID:
		id, _ := json.Marshal(r.Error.Data["id"])
		request := c.byID[string(id)]
		if request == nil || request.sent < 2 {
			c.problem("call %s is no duplicate: %.200s", id, line)
			return
		}
		request.answers++
	case ReasonReplyTooLarge:
		c.lostBatches++
	case ReasonMessageTooLarge, ReasonFrameTimeout, ReasonMaxConnections, ReasonMaxConnectionsPerID, ReasonMaxBufferedBytes, ReasonShuttingDown:
		if in == nil {
			c.note("is told: %s", reason)
			c.notices = append(c.notices, reason)
			c.checkNotice(reason)
			return
		}
		fallthrough
	default:
		if c.namelessAnswers++; c.namelessAnswers > c.nameless {
			c.problem("a reply for nothing: %.200s", line)
		}
	}
}

// checkNotice says whether the client deserves the end of its connection.
func (c *simClient) checkNotice(reason string) {
	if reason == ReasonFrameTimeout && !c.dripped {
		c.problem("its frame is said to have been too slow, but it has always sent what there was room for")
	}
	if reason == ReasonShuttingDown && !c.sim.stopping && !c.sim.hasty {
		c.problem("the server is said to be shutting down")
	}
}

func (c *simClient) event(line []byte) {
	var m struct {
		Method string
		Params simEvent
	}
	if err := json.Unmarshal(line, &m); err != nil {
		c.problem("%v in %.200q", err, line)
		return
	}
	r := c.byID[string(m.Params.Subscription)]
	switch {
	case r == nil || !r.stream():
		c.problem("an event for nothing: %.200s", line)
	case r.sent > 1:
	case r.answers > 0:
		c.problem("an event behind the end of stream %s: %.200s", r.id, line)
	case m.Params.Sequence != r.sequence+1+m.Params.Lost:
		c.problem("stream %s: event %d, said to be behind %d lost ones, comes after event %d", r.id, m.Params.Sequence, m.Params.Lost, r.sequence)
	case m.Params.Lost > 0 && r.method == "must":
		c.problem("stream %s must not lose events, and lost %d", r.id, m.Params.Lost)
	case len(m.Params.Pad) != r.work.Bytes:
		c.problem("stream %s: an event holds %d bytes, expected %d", r.id, len(m.Params.Pad), r.work.Bytes)
	default:
		r.sequence = m.Params.Sequence
	}
}

// check compares an answer with its request.
func (c *simClient) check(r *simRequest, got reply, line []byte) {
	if got.Error == nil {
		c.checkResult(r, got, line)
		return
	}
	r.code = got.Error.Code
	if !slices.Contains(c.mayFail(r), r.code) {
		c.problem("call %s of %s: %.300s", r.id, r.method, line)
	}
	x := c.sim.executions
	x.mu.Lock()
	begun := x.begun[r.work.Token]
	x.mu.Unlock()
	said, _ := got.Error.Data["executed"].(string)
	if r.executed = Executed(said); said == "" {
		r.executed = ExecutedBy(&Error{Code: r.code})
	}
	switch {
	case r.executed == ExecutedNo && begun > 0:
		c.problem("call %s of %s was executed: %.300s", r.id, r.method, line)
	case r.executed == ExecutedYes && begun == 0:
		c.problem("call %s of %s was not executed: %.300s", r.id, r.method, line)
	}
}

// mayFail returns the codes with which a request may be answered.
func (c *simClient) mayFail(r *simRequest) []int {
	codes := map[string][]int{
		"fail": {CodeInternalError}, "panic": {CodeInternalError}, "goexit": {CodeInternalError},
		"hidden": {CodeMethodNotFound}, "unknown": {CodeMethodNotFound}, "timed": {CodeMethodNotFound},
		"denied": {CodeNotAuthorized}, "array": {CodeInvalidParams},
		"echo": {CodeReplyTooLarge}, "work": {CodeReplyTooLarge},
	}[r.method]
	codes = append(codes, CodeResourceExhausted, CodeDeadlineExceeded)
	if r.batch != nil {
		codes = append(codes, CodeReplyTooLarge)
		if r.stream() {
			codes = append(codes, CodeInvalidRequest)
		}
	}
	if r.cancelled {
		codes = append(codes, CodeCancelled)
	}
	if c.sim.stopping || c.sim.hasty || c.sim.handed && r.stream() {
		codes = append(codes, CodeShuttingDown)
	}
	return codes
}

func (c *simClient) checkResult(r *simRequest, got reply, line []byte) {
	want := r.work.result()
	switch r.method {
	case "fail", "panic", "goexit", "hidden", "unknown", "denied", "array":
		c.problem("call %s of %s has a result: %.200s", r.id, r.method, line)
		return
	case cancelMethod, cancelAlias:
		if r.took = string(got.Result) == `{"cancelled":true}`; !r.took && string(got.Result) != `{"cancelled":false}` {
			c.problem("cancel %s: %.200s", r.id, line)
		}
		return
	case "watch", "must":
		if want = `"` + r.work.Token + `"`; r.sequence != r.work.Events {
			c.problem("stream %s has ended after event %d of %d", r.id, r.sequence, r.work.Events)
		}
	case "echo":
		want = r.work.params()
	}
	if string(got.Result) != want {
		c.problem("call %s of %s: the result is %.100q (%d bytes), expected %.100q (%d)", r.id, r.method, got.Result, len(got.Result), want, len(want))
	}
}

// params returns the params of the request as they stand on the wire.
func (w simWork) params() string {
	return fmt.Sprintf(`{"token":%q,"ms":%d,"deaf":%t,"bytes":%d,"events":%d,"pad":%q}`, w.Token, w.MS, w.Deaf, w.Bytes, w.Events, w.Pad)
}

// text returns the request as it stands on the wire.
func (r *simRequest) stream() bool { return r.method == "watch" || r.method == "must" }

func (r *simRequest) text() string {
	method, params := r.method, r.work.params()
	switch {
	case r.cancels != nil:
		params = fmt.Sprintf(`{"id":%s}`, r.cancels.id)
	case method == "array":
		method, params = "work", "["+params+"]"
	}
	if r.id == "" {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s}`, method, params)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s,"id":%s}`, method, params, r.id)
}

func (b *simBatch) text() string {
	items := make([]string, len(b.calls))
	for i, r := range b.calls {
		items[i] = r.text()
	}
	return "[" + strings.Join(items, ",") + "]"
}

// ---- What must hold once nothing is under way

// unanswered returns the ids of calls that the server has read and not answered.
func (c *simClient) unanswered() (ids []string) {
	lost := 0
	for _, b := range c.batches {
		open := slices.ContainsFunc(b.calls, func(r *simRequest) bool { return r.id != "" && c.delivered(r) && r.answers < r.sent })
		if open && lost < c.lostBatches {
			lost++
			for _, r := range b.calls {
				r.answers = r.sent // together, by one error
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.byID)) {
		if r := c.byID[id]; r.answers < r.sent && c.delivered(r) {
			ids = append(ids, fmt.Sprintf("%s (%s)", id, r.method))
		}
	}
	return ids
}

// checkCancels checks that a call which a cancel claims was answered so.
func (c *simClient) checkCancels() {
	for _, r := range c.order {
		if target := r.cancels; target != nil && r.took && target.answers > 0 && target.sent == 1 && target.code != CodeCancelled && c.lostBatches == 0 {
			c.problem("cancel %s says that it has cancelled call %s, which was answered with code %d", r.id, target.id, target.code)
		}
	}
}

// checkRefused checks once more, at the end, that what was refused as not
// executed was not executed later.
func (c *simClient) checkRefused() {
	x := c.sim.executions
	for _, r := range c.byID {
		if r.executed == ExecutedNo && x.begun[r.work.Token] > 0 {
			c.problem("call %s of %s was answered as not executed, with code %d, and executed", r.id, r.method, r.code)
		}
	}
}

func (c *simClient) stallReading(on bool) {
	if c.stalledReading = on; on {
		c.slow = true
	}
}

func (c *simClient) stallWriting(on bool) {
	if c.stalledWriting = on; on {
		c.dripped = true
	}
}
