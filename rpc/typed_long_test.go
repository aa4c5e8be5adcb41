package rpc

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLongStringsAreEncodedAsShortOnesAre(t *testing.T) {
	long := strings.Repeat("x", longString)
	for _, ending := range []string{"", "é€😀", `"`, `\`, `\u0041`, "\n", "\x00", "\x7f", "<&>", "\u2028", `"}` + "\n"} {
		value := map[string]any{"a": long + ending, long + ending: []string{long + ending, ending}}
		want, err := json.Marshal(value, json.Deterministic(true))
		require.NoError(t, err)
		got, err := encodeResult(value)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(got), "%q", ending)
		assert.Len(t, got, len(want), "%q", ending)
	}
	_, err := encodeResult(long + "\xff")
	assert.ErrorContains(t, err, "invalid UTF-8")
}

func BenchmarkTypedLongString(b *testing.B) {
	params := RawMessage(`{"a":1,"b":"` + strings.Repeat("0123456789abcdef", 64<<10) + `"}`)
	b.SetBytes(int64(len(params)))
	b.ReportAllocs()
	for b.Loop() {
		var p typedParams
		if err := DecodeParams(params, &p); err != nil {
			b.Fatal(err)
		}
		if _, err := encodeResult(p); err != nil {
			b.Fatal(err)
		}
	}
}
