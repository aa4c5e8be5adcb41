package systemd

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	result       = `{"jsonrpc":"2.0","id":"a","result":"a"}`
	shuttingDown = `{"jsonrpc":"2.0","id":"a","error":{"code":-32003,"message":"m","data":{"reason":"shutting_down","executed":"no"}}}`
	notice       = `{"jsonrpc":"2.0","id":null,"error":{"code":-32003,"message":"m","data":{"reason":"shutting_down","executed":"no"}}}`
)

// What the tests of restarts rest on: a history in which something went wrong is
// found out.
func TestTheCheckerFindsWhatItIsFor(t *testing.T) {
	for _, test := range []struct {
		name   string
		happen func(c *connection)
		record string
		want   string // "" for a history in which all is well
	}{
		{name: "answered", record: "a\n", happen: func(c *connection) { c.received([]byte(result)) }},
		{name: "refused", happen: func(c *connection) { c.received([]byte(shuttingDown)) }},
		{name: "cut before it began", happen: func(c *connection) { c.ended(nil, io.EOF) }},
		{name: "refused with its connection", happen: func(c *connection) {
			c.received([]byte(notice))
			c.ended(nil, syscall.ECONNRESET)
		}},

		{name: "executed and never answered", record: "a\n", want: "a was cut, and executed 1 times",
			happen: func(c *connection) { c.ended(nil, io.EOF) }},
		{name: "executed twice", record: "a\na\n", want: "a was answered, and executed 2 times",
			happen: func(c *connection) { c.received([]byte(result)) }},
		{name: "answered and never executed", want: "a was answered, and executed 0 times",
			happen: func(c *connection) { c.received([]byte(result)) }},
		{name: "refused and executed", record: "a\n", want: "a was refused, and executed 1 times",
			happen: func(c *connection) { c.received([]byte(shuttingDown)) }},
		{name: "executed and never sent", record: "a\nb\n", want: "b was executed, and never sent",
			happen: func(c *connection) { c.received([]byte(result)) }},
		{name: "neither answered nor cut", want: "a was neither answered", happen: func(*connection) {}},
		{name: "answered twice", record: "a\n", want: "a was not open", happen: func(c *connection) {
			c.received([]byte(result))
			c.received([]byte(result))
		}},
		{name: "answered for another", want: "a was answered with", happen: func(c *connection) {
			c.received([]byte(`{"jsonrpc":"2.0","id":"a","result":"b"}`))
			c.ended(nil, io.EOF)
		}},
		{name: "refused and perhaps executed", want: "a was answered with", happen: func(c *connection) {
			c.received([]byte(`{"jsonrpc":"2.0","id":"a","error":{"code":-32003,"message":"m","data":{"executed":"unknown"}}}`))
			c.ended(nil, io.EOF)
		}},
		{name: "no JSON", want: "expected a reply", happen: func(c *connection) {
			c.received([]byte("\n"))
			c.ended(nil, io.EOF)
		}},
		{name: "torn", want: `ended within the message "{"`, happen: func(c *connection) { c.ended([]byte("{"), io.EOF) }},
		{name: "reset", want: "connection reset", happen: func(c *connection) { c.ended(nil, syscall.ECONNRESET) }},
		{name: "a notice after an answer", record: "a\n", want: "expected a reply with an id", happen: func(c *connection) {
			c.received([]byte(result))
			c.received([]byte(notice))
		}},
		{name: "sent twice", record: "a\n", want: "a was sent twice", happen: func(c *connection) {
			c.sent("a")
			c.received([]byte(result))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHistory()
			c := h.connection()
			c.sent("a")
			test.happen(c)
			h.check(test.record)
			if test.want == "" {
				require.Empty(t, h.problems)
				return
			}
			require.Len(t, h.problems, 1)
			require.Contains(t, h.problems[0], test.want)
		})
	}
}
