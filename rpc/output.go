package rpc

import (
	"strconv"

	"github.com/go-json-experiment/json"
)

// copyLimit is the largest result that is copied into the buffer of replies;
// a larger one is written from where it stands.
const copyLimit = sharedFrame

// output holds what is to be written to one connection, in its order; guarded
// by conn.mu. Small replies gather in tail, so that many go out by one write.
type output struct {
	chunks []chunk
	tail   *buffer
	n      int // tail.b[:n] is used
	places int // of MaxInFlightPerConnection, to be given back once written
	// bytes is how much there is, without buffers that are on account already;
	// charged of them are on account.
	bytes, charged int
}

// chunk is a piece of output and what is to be freed once it is written.
type chunk struct {
	b     []byte
	owner *buffer
}

func (o *output) empty() bool { return len(o.chunks) == 0 && o.n == 0 }

// grow returns room for n bytes at the end of tail.
func (o *output) grow(n int) []byte {
	if o.tail != nil && o.n+n > len(o.tail.b) {
		o.seal()
	}
	if o.tail == nil {
		o.tail = newBuffer(n)
	}
	return o.tail.b[o.n:o.n]
}

// seal closes tail: what follows goes behind it.
func (o *output) seal() {
	if o.tail != nil && o.n > 0 {
		o.chunks = append(o.chunks, chunk{o.tail.b[:o.n], o.tail})
		o.tail, o.n = nil, 0
	}
}

// put appends the concatenation of parts.
func (o *output) put(parts ...[]byte) {
	size := totalLen(parts)
	b := o.grow(size)
	for _, p := range parts {
		b = append(b, p...)
	}
	o.n += size
	o.bytes += size
}

// putBuffer appends the first n bytes of buf, which it owns from then on.
func (o *output) putBuffer(buf *buffer, n int) {
	o.seal()
	o.chunks = append(o.chunks, chunk{buf.b[:n], buf})
	o.bytes += n
}

// putResult appends a reply. It returns owner if that is not needed any more.
func (o *output) putResult(id []byte, raw RawMessage, owner *buffer) *buffer {
	if len(raw) <= copyLimit {
		o.put(replyHead, id, replyResult, raw, replyEnd)
		return owner
	}
	o.put(replyHead, id, replyResult)
	o.putLarge(raw, owner)
	o.put(replyEnd)
	return nil
}

// putLarge appends b without copying it; owner is freed once it is written.
func (o *output) putLarge(b []byte, owner *buffer) {
	o.seal()
	o.chunks = append(o.chunks, chunk{b, owner})
	if owner == nil || owner.conn == nil {
		o.bytes += len(b)
	}
}

// putPieces appends what p has, and empties it.
func (o *output) putPieces(p *pieces) {
	o.seal()
	o.chunks = append(o.chunks, p.chunks...)
	o.bytes += p.bytes
	*p = pieces{}
}

// take empties o and returns what was in it.
func (o *output) take() output {
	o.seal()
	taken := *o
	*o = output{}
	return taken
}

// follow appends what was taken.
func (o *output) follow(taken output) {
	o.seal()
	o.chunks = append(o.chunks, taken.chunks...)
	o.places += taken.places
	o.bytes += taken.bytes
	o.charged += taken.charged
}

// free gives every buffer back.
func (o *output) free() {
	for _, c := range o.chunks {
		c.owner.free()
	}
	o.tail.free()
	*o = output{}
}

// The parts of a reply.
const (
	replyHeadText   = `{"jsonrpc":"2.0","id":`
	replyResultText = `,"result":`
	replyEndText    = "}\n"
)

var (
	replyHead   = []byte(replyHeadText)
	replyResult = []byte(replyResultText)
	replyError  = []byte(`,"error":`)
	replyEnd    = []byte(replyEndText)
	nullID      = []byte("null")
)

// replyOverhead is what a reply adds to its id and result, newline not
// counted.
var replyOverhead = len(replyHead) + len(replyResult) + len(replyEnd) - 1

// errorReply returns the frame of an error reply, without its newline.
func errorReply(id []byte, e *Error) []byte {
	if id == nil {
		id = nullID
	}
	b := make([]byte, 0, 256+len(id))
	b = append(b, replyHead...)
	b = append(b, id...)
	b = append(b, replyError...)
	b = append(b, `{"code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, e.Message)
	if e.Data != nil {
		data, err := encode(e.Data)
		if err != nil { // a handler's mistake must not cost the client its reply
			data, _ = json.Marshal(map[string]string{"reason": "the error's data does not encode"})
		}
		b = append(b, `,"data":`...)
		b = append(b, data...)
	}
	return append(b, '}', '}')
}
