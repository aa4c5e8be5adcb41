package rpc

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// feed gives input to f in pieces of at most n bytes and returns the frames;
// tooLarge ends it.
func feed(f *frameReader, input []byte, n int) (frames []string, tooLarge bool) {
	for len(input) > 0 {
		if size := f.wanted(false); size > 0 {
			f.grow(newBuffer(size))
		}
		space := f.space()
		k := copy(space[:min(n, len(space))], input)
		f.filled(k, time.Unix(1, 0))
		input = input[k:]
		for {
			frame, more, large := f.next()
			if large {
				return frames, true
			}
			if more {
				break
			}
			frames = append(frames, string(frame))
		}
	}
	return frames, false
}

func TestFramesAreCutAtNewlinesHoweverTheyArrive(t *testing.T) {
	large := strings.Repeat("x", 100<<10)
	input := "{}\n\n \r\n\t\n[1]\r\n" + large + "\n\"a\rb\"\n" + "half"
	for _, n := range []int{1, 2, 3, 7, 1000, 1 << 20} {
		f := &frameReader{max: 1 << 20}
		frames, tooLarge := feed(f, []byte(input), n)
		require.False(t, tooLarge)
		require.Equal(t, []string{"{}", "[1]", large, "\"a\rb\""}, frames, "in pieces of %d", n)
		require.True(t, f.partial())
	}
}

func TestAFrameOfTheLargestSizePassesAndOneByteMoreDoesNot(t *testing.T) {
	for _, max := range []int{1 << 10, 20 << 10, 1 << 20, 5 << 20} {
		for _, end := range []string{"\n", "\r\n"} {
			for _, n := range []int{511, 1 << 20} {
				frame := strings.Repeat("x", max)
				frames, tooLarge := feed(&frameReader{max: max}, []byte("1\n"+frame+end+"2\n"), n)
				require.False(t, tooLarge)
				require.Equal(t, []string{"1", frame, "2"}, frames)
				frames, tooLarge = feed(&frameReader{max: max}, []byte("1\n"+frame+"x"+end), n)
				require.True(t, tooLarge)
				require.Equal(t, []string{"1"}, frames)
			}
		}
	}
}

func TestAFrameThatNeverEndsIsNotCollectedBeyondTheLimit(t *testing.T) {
	f := &frameReader{max: 1 << 20}
	_, tooLarge := feed(f, bytes.Repeat([]byte("x"), 8<<20), 64<<10)
	require.True(t, tooLarge)
	require.LessOrEqual(t, len(f.buf.b), 2<<20)
}

func TestADetachedFrameOutlivesTheReader(t *testing.T) {
	f := &frameReader{max: 1 << 20}
	copy(f.space(), "first\nsecond\nthi")
	f.filled(len("first\nsecond\nthi"), time.Unix(1, 0))
	frame, _, _ := f.next()
	buf := f.detach()
	require.Equal(t, "first", string(frame))
	second, _, _ := f.next()
	require.Equal(t, "second", string(second))
	fork := f.fork()
	require.Equal(t, "second", string(second))
	copy(fork.space(), "rd\n")
	fork.filled(3, time.Unix(1, 0))
	third, more, _ := fork.next()
	require.False(t, more)
	require.Equal(t, "third", string(third))
	require.Equal(t, "first", string(frame))
	buf.free()
}

func TestNoBufferIsHeldWithoutInput(t *testing.T) {
	f := &frameReader{max: 1 << 20}
	_, _ = feed(f, []byte("{}\n"), 100)
	require.False(t, f.partial())
	f.release()
	require.Nil(t, f.buf)
}

func FuzzFramesAreLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n\r\nccc"), uint8(3), uint8(5))
	f.Fuzz(func(t *testing.T, input []byte, piece, limit uint8) {
		max := int(limit) + 1
		var want []string
		wantLarge := false
		lines := strings.Split(string(input), "\n")
		for i, line := range lines {
			last := i == len(lines)-1
			if !last {
				line = strings.TrimSuffix(line, "\r")
			} else if len(line) == max+1 && strings.HasSuffix(line, "\r") {
				line = line[:max] // may still be a line end
			}
			if len(line) > max+1 || (!last && len(line) > max) {
				wantLarge = true
				break
			}
			if !last && strings.Trim(line, " \t\r") != "" {
				want = append(want, line)
			}
		}
		frames, tooLarge := feed(&frameReader{max: max}, input, int(piece)+1)
		if tooLarge != wantLarge || strings.Join(frames, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got %q, too large %t; expected %q, %t", frames, tooLarge, want, wantLarge)
		}
	})
}

// TestAReadEndsWithTheFrame where that is as large as the one before: what follows it
// would have to be copied.
func TestAReadEndsWithTheFrame(t *testing.T) {
	f := &frameReader{max: 16 << 20}
	f.resume(newBuffer(4<<20), nil)
	put := func(text string) {
		for len(text) > 0 {
			n := copy(f.space(), text)
			f.filled(n, time.Time{})
			text = text[n:]
		}
	}
	require.Len(t, f.space(), maxRead)
	for _, test := range []struct{ size, begun, read int }{
		{900 << 10, 0, 900<<10 + 1},
		{900 << 10, 600 << 10, 300<<10 + 1},
		{900 << 10, 800 << 10, maxRead},
		{900 << 10, 1 << 20, maxRead}, // longer than the one before
		{3 << 20, 0, maxFrameRead},
		{3 << 20, 5 << 19, 1<<19 + 1},
		{10, 0, maxRead},
	} {
		put(strings.Repeat("x", test.size) + "\n")
		frame, _, _ := f.next()
		require.Len(t, frame, test.size)
		put(strings.Repeat("y", test.begun))
		_, more, _ := f.next()
		require.True(t, more)
		require.Len(t, f.space(), test.read, "%+v", test)
		put("\n")
		_, _, _ = f.next()
	}
}
