package rpc

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPiecesAreWhatWasAppendedAndHoldAtMostTwiceThat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pieces
		var want []byte
		pattern := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), 20<<10)
		for _, n := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 700<<10)), 1, 20).Draw(t, "sizes") {
			at := rapid.IntRange(0, len(pattern)-n).Draw(t, "at")
			part := pattern[at : at+n]
			p.append(part[:n/3], part[n/3:])
			want = append(want, part...)
		}
		var got []byte
		held := 0
		for i, c := range p.chunks {
			got = append(got, c.b...)
			held += cap(c.b)
			require.Equal(t, i > 0, c.owner != nil)
		}
		require.True(t, bytes.Equal(want, got))
		require.Equal(t, len(want), p.bytes)
		require.LessOrEqual(t, held, max(64, 2*len(want)+bufferSlack))
		p.free()
		require.Equal(t, pieces{}, p)
	})
}

// TestPiecesDoNotMove: what was appended stays where it is, but for the first piece.
func TestPiecesDoNotMove(t *testing.T) {
	var p pieces
	defer p.free()
	p.append(make([]byte, firstPiece+1))
	second := &p.chunks[1].b[0]
	for range 100 {
		p.append(make([]byte, 150<<10))
	}
	require.Same(t, second, &p.chunks[1].b[0])
}
