package load

import (
	"bytes"
	"fmt"
	"strconv"
)

// httpSession is a session of HTTP/1.1, pipelined where the workload is:
// responses come in the order of the requests (RFC 9112, section 9.3.2), so the
// bodies tell whether they are the right ones.
type httpSession struct {
	flight
	script *script

	head    []byte // of the response that is coming, while it is not whole
	inBody  bool
	due     int // the slot of that response
	matched int // how much of its body has come
}

func newHTTP(s *script, w *worker) *httpSession {
	return &httpSession{flight: newFlight(s.w, w), script: s}
}

func (h *httpSession) inFlight() int { return h.count }

func (h *httpSession) send(n int, now int64) ([]byte, error) {
	return h.take(h.script.calls, n, now)
}

func (h *httpSession) receive(in []byte, now int64) (replies int, err error) {
	for len(in) > 0 {
		want := h.script.replies.Run(h.due, 1)
		if !h.inBody {
			if in, err = h.readHead(in, len(want)); err != nil {
				return replies, err
			}
			continue
		}
		n := min(len(in), len(want)-h.matched)
		if !bytes.Equal(in[:n], want[h.matched:h.matched+n]) {
			return replies, fmt.Errorf("found %s in the result, expected %s", excerpt(in[:n]), excerpt(want[h.matched:]))
		}
		in = in[n:]
		if h.matched += n; h.matched < len(want) {
			return replies, nil
		}
		if err := h.answered(h.due, now); err != nil {
			return replies, err
		}
		replies++
		h.inBody, h.matched = false, 0
		h.due = h.after(h.due)
	}
	return replies, nil
}

var (
	okLine    = []byte("HTTP/1.1 200 OK\r\n")
	headEnd   = []byte("\r\n\r\n")
	lengthKey = []byte("\r\nContent-Length: ")
)

// readHead takes what belongs to the head, and returns the rest of in.
func (h *httpSession) readHead(in []byte, length int) ([]byte, error) {
	const most = 4096
	before := len(h.head)
	h.head = append(h.head, in[:min(len(in), most)]...)
	end := bytes.Index(h.head, headEnd)
	if end < 0 {
		if len(h.head) > most {
			return nil, fmt.Errorf("found no end of the head in %s", excerpt(h.head))
		}
		return nil, nil
	}
	end += len(headEnd)
	head := h.head[:end]
	_, after, found := bytes.Cut(head, lengthKey)
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	if !bytes.HasPrefix(head, okLine) || !found || !bytes.Equal(value, strconv.AppendInt(nil, int64(length), 10)) {
		return nil, fmt.Errorf("found the response %s, expected status 200 and Content-Length %d", excerpt(head), length)
	}
	h.head, h.inBody = h.head[:0], true
	return in[end-before:], nil
}
