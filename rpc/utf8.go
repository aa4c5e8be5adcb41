package rpc

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Text beyond ASCII is checked by an automaton without branches: in mixed text
// nothing predicts where the next rune ends. All its transitions for one byte
// stand in one word, six bits for each state: the state is the number of the
// bit at which its successor stands, so that a step is a load and a shift.
type utf8State uint64

const (
	runeBits = 6
	runeMask = 1<<runeBits - 1
)

// The states of the automaton (RFC 3629, section 4).
const (
	runeEnd   utf8State = runeBits * iota // between two runes
	notUTF8                               // for good
	oneMore                               // 80..BF
	twoMore                               // two of them
	threeMore                             // three
	afterE0                               // A0..BF, then one: less would be overlong
	afterED                               // 80..9F, then one: more would be a surrogate
	afterF0                               // 90..BF, then two: less would be overlong
	afterF4                               // 80..8F, then two: more would be beyond U+10FFFF
	runeStates
)

// utf8Steps[c] has all transitions for the byte c.
var utf8Steps = func() (steps [256]uint64) {
	for c := range steps {
		for s := runeEnd; s < runeStates; s += runeBits {
			steps[c] |= uint64(afterByte(s, byte(c))) << s
		}
	}
	return steps
}()

func afterByte(s utf8State, c byte) utf8State {
	within := func(low, high byte, next utf8State) utf8State {
		if low <= c && c <= high {
			return next
		}
		return notUTF8
	}
	switch s {
	case runeEnd:
		return leadByte(c)
	case oneMore:
		return within(0x80, 0xbf, runeEnd)
	case twoMore:
		return within(0x80, 0xbf, oneMore)
	case threeMore:
		return within(0x80, 0xbf, twoMore)
	case afterE0:
		return within(0xa0, 0xbf, oneMore)
	case afterED:
		return within(0x80, 0x9f, oneMore)
	case afterF0:
		return within(0x90, 0xbf, twoMore)
	case afterF4:
		return within(0x80, 0x8f, twoMore)
	}
	return notUTF8
}

func leadByte(c byte) utf8State {
	switch {
	case c < 0x80:
		return runeEnd
	case c < 0xc2: // a continuation, or an overlong form
		return notUTF8
	case c < 0xe0:
		return oneMore
	case c == 0xe0:
		return afterE0
	case c == 0xed:
		return afterED
	case c < 0xf0:
		return twoMore
	case c == 0xf0:
		return afterF0
	case c < 0xf4:
		return threeMore
	case c == 0xf4:
		return afterF4
	}
	return notUTF8
}

// step takes one byte.
func (s utf8State) step(c byte) utf8State {
	return utf8State(utf8Steps[c] >> (s & runeMask))
}

// ends is stops for words with bytes beyond ASCII, which do not stop it. Every
// bit of it is right.
func ends(w uint64) uint64 {
	const low7 = ^uint64(highs)
	control := ^((w | highs) - spaces) &^ w
	quote, escape := w^quotes, w^backslash
	quote = (quote&low7 + low7) | quote
	escape = (escape&low7 + low7) | escape
	return (control | ^quote | ^escape) & highs
}

// skipText skips text that begins beyond ASCII, up to a byte that a string can
// not simply skip, or to where it is plain again. ok is false where it is not
// UTF-8; next is the index of the offending sequence then.
func skipText(b []byte, i int) (next int, ok bool) {
	start, s := i, runeEnd
	for len(b)-i >= 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		m := ends(w)
		if m != 0 {
			end := i + bits.TrailingZeros64(m)/8
			for ; i < end; i++ {
				s = s.step(b[i])
			}
			return textEnd(b, start, i, s)
		}
		v := b[i : i+8 : i+8]
		s = s.step(v[0]).step(v[1]).step(v[2]).step(v[3]).step(v[4]).step(v[5]).step(v[6]).step(v[7])
		i += 8
		if w&highs == 0 {
			break
		}
	}
	if s&runeMask == runeEnd && i < len(b) && b[i] < utf8.RuneSelf {
		return i, true
	}
	for i < len(b) && (s&runeMask != runeEnd || b[i] >= utf8.RuneSelf) && s&runeMask != notUTF8 {
		s = s.step(b[i])
		i++
	}
	return textEnd(b, start, i, s)
}

// textEnd says whether b[start:i], after which the automaton is in s, is UTF-8.
func textEnd(b []byte, start, i int, s utf8State) (next int, ok bool) {
	if s&runeMask == runeEnd {
		return i, true
	}
	for start < i {
		r, n := utf8.DecodeRune(b[start:i])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		start += n
	}
	return start, false
}
