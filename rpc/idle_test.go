package rpc

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestAnIdleConnectionIsSmall: its parts have sizes that the runtime does not round up.
// All of it is measured in tests/faults.
func TestAnIdleConnectionIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(conn{}), uintptr(512))
	require.LessOrEqual(t, unsafe.Sizeof(reader{}), uintptr(320))
}
