package servers

import (
	"fmt"

	"github.com/marianned/marianned/tests/bench/workload"
)

// Dialect is how a server wants its calls.
type Dialect int

const (
	// JSONRPC is newline-delimited JSON-RPC 2.0.
	JSONRPC Dialect = iota
)

// Call is the call of one slot, as the dialect has it.
func (d Dialect) Call(w *workload.Workload, slot int) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"echo","params":%s}`+"\n", w.ID(slot), w.Params(slot))
}
