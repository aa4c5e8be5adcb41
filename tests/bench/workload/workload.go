package workload

import (
	"fmt"
	"strings"
)

// Kind is what the client of a workload does.
type Kind int

const (
	// Calls keeps Window calls in flight on each of Conns connections.
	Calls Kind = iota
	// Connect opens a connection, calls once and closes it, again and again.
	Connect
	// Idle opens Conns connections, calls once on each and leaves them open.
	Idle
)

// Workload is one column of the table.
type Workload struct {
	Name   string // for -workloads
	Title  string
	Kind   Kind
	Conns  int
	Window int
	// Slots is the number of different calls, which come in turns: each has an
	// id and params of its own, so that no reply can pass for another's.
	Slots int
	Text  string // of the params
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// All is every workload, in the order of the table.
func All() []*Workload {
	small := "hello, world"
	mixed := mixedText(4 * kib)
	return []*Workload{
		{Name: "serial", Title: "serial", Conns: 1, Window: 1, Slots: 256, Text: small},
		{Name: "pipelined", Title: "64 pipelined", Conns: 1, Window: 64, Slots: 256, Text: small},
		{Name: "callers-50", Title: "50 callers", Conns: 50, Window: 1, Slots: 256, Text: small},
		{Name: "callers-500", Title: "500 callers", Conns: 500, Window: 1, Slots: 256, Text: small},
		{Name: "connect", Title: "connect, call, close", Kind: Connect, Conns: 1, Window: 1, Slots: 256, Text: small},
		{Name: "1mib", Title: "1 MiB", Conns: 1, Window: 1, Slots: 4, Text: strings.Repeat("0123456789abcdef", mib/16)},
		{Name: "15mib", Title: "15 MiB", Conns: 1, Window: 1, Slots: 2, Text: strings.Repeat("0123456789abcdef", 15*mib/16)},
		{Name: "text", Title: "4 KiB of mixed text", Conns: 1, Window: 1, Slots: 256, Text: mixed},
		{Name: "text-pipelined", Title: "mixed text, 64 pipelined", Conns: 1, Window: 64, Slots: 256, Text: mixed},
		{Name: "idle-500", Title: "500 idle", Kind: Idle, Conns: 500, Window: 1, Slots: 256, Text: small},
		{Name: "idle-5000", Title: "5,000 idle", Kind: Idle, Conns: 5000, Window: 1, Slots: 256, Text: small},
	}
}

// String is the name.
func (w *Workload) String() string { return w.Name }

// MessageBytes is a little more than the longest message of the workload.
func (w *Workload) MessageBytes() int { return len(w.Text) + 512 }

// Params is the params of one slot, as JSON text in the form that
// encoding/json would print.
func (w *Workload) Params(slot int) []byte {
	return fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, slot, w.Text)
}

// firstID is where ids begin: all of them have as many digits as those of a
// client that has been calling for a while.
const firstID = 1_000_000

// ID is the id of the calls of one slot.
func (w *Workload) ID(slot int) int { return firstID + slot }

// Slot is the slot whose calls have this id, and whether there is one.
func (w *Workload) Slot(id int) (int, bool) {
	return id - firstID, id >= firstID && id < firstID+w.Slots
}

// Reply is the reply to the call of one slot as most servers print it.
func (w *Workload) Reply(slot int) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"result":%s}`+"\n", w.ID(slot), w.Params(slot))
}

// mixedText is about n bytes of Latin, Greek, Cyrillic, Chinese and Japanese
// letters and emoji: each of 1, 2, 3 and 4 bytes in UTF-8, with few of one
// length in a row.
func mixedText(n int) string {
	const sample = "Zwölf größere Boxkämpfer; Съешь ещё этих мягких булок; 视野无限广，窗外有蓝天; " +
		"ξεσκεπάζω την ψυχοφθόρα; いろはにほへと ちりぬるを; naïve façade 🙂🚀👩‍🔬 done. "
	return strings.Repeat(sample, n/len(sample)+1)
}
