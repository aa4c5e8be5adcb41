package rpc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest in one frame. A frame of
// 16 MiB could otherwise nest 16 million deep, and a handler's decoder with it.
const maxDepth = 1000

// syntaxError says where a text stops being JSON (RFC 8259). Offsets count
// bytes from the start of the frame.
type syntaxError struct {
	offset int
	what   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d", e.what, e.offset)
}

func syntax(offset int, what string) *syntaxError { return &syntaxError{offset, what} }

const unexpectedEnd = "unexpected end"

// skipSpace returns the index of the first byte at or behind i that is not
// white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// skipValue checks the value that starts at b[i], white space before it
// included, and returns the index behind it. depth is how many arrays and
// objects are open around it. It does not recurse and does not allocate.
func skipValue(b []byte, i, depth int) (int, *syntaxError) {
	// One bit for each open level: 1 for an object, 0 for an array.
	var objects [maxDepth/64 + 1]uint64
	base := depth
	for {
		i = skipSpace(b, i)
		if i >= len(b) {
			return i, syntax(i, unexpectedEnd)
		}
		var err *syntaxError
		switch c := b[i]; c {
		case '{', '[':
			if depth == maxDepth {
				return i, syntax(i, fmt.Sprintf("nesting deeper than %d", maxDepth))
			}
			if c == '[' {
				objects[depth/64] &^= 1 << (depth % 64)
				depth++
				if j := skipSpace(b, i+1); j < len(b) && b[j] == ']' {
					i, depth = j+1, depth-1
					break
				}
				i++
				continue
			}
			objects[depth/64] |= 1 << (depth % 64)
			depth++
			if j := skipSpace(b, i+1); j < len(b) && b[j] == '}' {
				i, depth = j+1, depth-1
				break
			}
			if i, err = skipName(b, i+1); err != nil {
				return i, err
			}
			continue
		case '"':
			if end := shortString(b, i+1); end > 0 {
				i = end
			} else {
				i, err = skipString(b, i)
			}
		case 't':
			i, err = skipLiteral(b, i, "true")
		case 'f':
			i, err = skipLiteral(b, i, "false")
		case 'n':
			i, err = skipLiteral(b, i, "null")
		default:
			i, err = skipNumber(b, i)
		}
		if err != nil {
			return i, err
		}

		// A value has ended: close what ends with it.
		for {
			if depth == base {
				return i, nil
			}
			i = skipSpace(b, i)
			if i >= len(b) {
				return i, syntax(i, unexpectedEnd)
			}
			inObject := objects[(depth-1)/64]>>((depth-1)%64)&1 == 1
			c := b[i]
			if c == ',' {
				i++
				if inObject {
					if i, err = skipName(b, i); err != nil {
						return i, err
					}
				}
				break
			}
			if (inObject && c != '}') || (!inObject && c != ']') {
				return i, syntax(i, "expected a comma or the end of the "+kind(inObject))
			}
			i++
			depth--
		}
	}
}

func kind(object bool) string {
	if object {
		return "object"
	}
	return "array"
}

// skipName checks a member's name and the colon behind it.
func skipName(b []byte, i int) (int, *syntaxError) {
	_, i, err := scanName(b, i)
	return i, err
}

// scanName is skipName that also returns the name, quotes included.
func scanName(b []byte, i int) (name []byte, next int, err *syntaxError) {
	i = skipSpace(b, i)
	if i >= len(b) {
		return nil, i, syntax(i, unexpectedEnd)
	}
	if b[i] != '"' {
		return nil, i, syntax(i, "expected a member name in double quotes")
	}
	start := i
	if end := shortString(b, i+1); end > 0 {
		i = end
	} else if i, err = skipString(b, i); err != nil {
		return nil, i, err
	}
	name = b[start:i]
	if i < len(b) && b[i] == ':' {
		return name, i + 1, nil
	}
	i = skipSpace(b, i)
	if i >= len(b) {
		return nil, i, syntax(i, unexpectedEnd)
	}
	if b[i] != ':' {
		return nil, i, syntax(i, "expected a colon")
	}
	return name, i + 1, nil
}

func skipLiteral(b []byte, i int, word string) (int, *syntaxError) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, syntax(i, "expected a value")
	}
	return i + len(word), nil
}

func skipNumber(b []byte, i int) (int, *syntaxError) {
	start := i
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && '1' <= b[i] && b[i] <= '9':
		i = skipDigits(b, i)
	case i == start:
		return i, syntax(i, "expected a value")
	default:
		return i, syntax(i, "expected a digit")
	}
	if i < len(b) && b[i] == '.' {
		j := skipDigits(b, i+1)
		if j == i+1 {
			return j, syntax(j, "expected a digit")
		}
		i = j
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := skipDigits(b, i)
		if j == i {
			return j, syntax(j, "expected a digit")
		}
		i = j
	}
	return i, nil
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

// The eight bytes of a word, each with the same value.
const (
	ones      = 0x0101010101010101
	highs     = ones * 0x80
	spaces    = ones * 0x20
	quotes    = ones * '"'
	backslash = ones * '\\'
)

// stops returns a word whose lowest set bit is in the first byte of w that a
// string can not simply skip: a control character, a quote, a backslash, or a
// byte beyond ASCII. x-ones borrows only from bytes that are zero, so that the
// bits below the first hit are right; those above it do not matter. The bits of
// bytes beyond ASCII are set by w itself.
func stops(w uint64) uint64 {
	return ((w - spaces) | ((w ^ quotes) - ones) | ((w ^ backslash) - ones) | w) & highs
}

// skipPlain returns the index of the first byte at or behind i that a string
// can not simply skip, or an index less than 8 before the end.
func skipPlain(b []byte, i int) int {
	for long := i + 32*8; len(b)-i >= 32; {
		if i == long {
			i = skipPlainPieces(b, i)
			long = -1
			continue
		}
		v := b[i : i+32 : i+32]
		w0, w1 := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])
		w2, w3 := binary.LittleEndian.Uint64(v[16:]), binary.LittleEndian.Uint64(v[24:])
		if (stops(w0) | stops(w1) | stops(w2) | stops(w3)) != 0 {
			break
		}
		i += 32
	}
	for len(b)-i >= 8 {
		if m := stops(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
	}
	return i
}

// pieceOfString is what of a long string is looked at at once. It stays in the
// processor's first cache between the looks.
type pieceOfString [1 << 10]byte

// skipPlainPieces is skipPlain for what is plain for long: three looks, two of
// them with the wide registers that package bytes has, take less time than one
// for everything.
func skipPlainPieces(b []byte, i int) int {
	for len(b)-i >= len(pieceOfString{}) {
		piece := (*pieceOfString)(b[i:])
		if bytes.IndexByte(piece[:], '"') >= 0 || bytes.IndexByte(piece[:], '\\') >= 0 || !printable(piece) {
			break
		}
		i += len(piece)
	}
	return i
}

// printable reports whether a piece holds neither control characters nor bytes
// beyond ASCII. A borrow of the subtraction comes only from a control character.
func printable(piece *pieceOfString) bool {
	var found uint64
	for i := 0; i < len(piece); i += 32 {
		v := piece[i : i+32 : i+32]
		w0, w1 := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])
		w2, w3 := binary.LittleEndian.Uint64(v[16:]), binary.LittleEndian.Uint64(v[24:])
		found |= w0 | (w0 - spaces) | w1 | (w1 - spaces) | w2 | (w2 - spaces) | w3 | (w3 - spaces)
	}
	return found&highs == 0
}

// shortString returns the index behind the closing quote of a string that
// starts at b[i], if it is within the next eight bytes and nothing before it
// needs a look; else 0.
func shortString(b []byte, i int) int {
	if len(b)-i < 8 {
		return 0
	}
	m := stops(binary.LittleEndian.Uint64(b[i:]))
	if end := i + bits.TrailingZeros64(m)>>3; m != 0 && b[end] == '"' {
		return end + 1
	}
	return 0
}

// plainString returns the index behind the closing quote of a string that starts at
// b[i], if nothing before it needs a look; else 0.
func plainString(b []byte, i int) int {
	if end := shortString(b, i); end > 0 {
		return end
	}
	for i = skipPlain(b, i); i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\' || c < 0x20 || c >= utf8.RuneSelf:
			return 0
		}
	}
	return 0
}

// skipString checks the string whose opening quote is b[i].
func skipString(b []byte, i int) (int, *syntaxError) {
	i++
	for {
		i = skipPlain(b, i)
		if i >= len(b) {
			return i, syntax(i, "unexpected end of a string")
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			n := escapeLength(b[i:])
			if n == 0 {
				return i, syntax(i, "invalid escape in a string")
			}
			i += n
		case c < 0x20:
			return i, syntax(i, "control character in a string")
		case c < utf8.RuneSelf:
			i++
		default:
			next, ok := skipText(b, i)
			if !ok {
				return next, syntax(next, "invalid UTF-8")
			}
			i = next
		}
	}
}

// escapeLength returns the length of the escape sequence that b starts with, or
// 0 if it is none.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if ('0' > c || c > '9') && ('a' > c || c > 'f') && ('A' > c || c > 'F') {
				return 0
			}
		}
		return 6
	}
	return 0
}
