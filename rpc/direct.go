package rpc

import (
	"bytes"
	"encoding"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// direct reads and writes the values of a plain Go type: a string, boolean or
// number, or a struct, slice or pointer of plain ones. It is a shorter way than
// the library's, which finds its own at each value and looks at each byte of a
// string more than once.
//
// It decides about nothing: where a type, a text or a value is not usual, ok is
// false, and the library does the whole again, with its rules and its errors.
// What it does take comes out as from the library.
type direct interface {
	// read sets v to the value that begins at text[i], which is no white space.
	read(text []byte, i int, v reflect.Value) (end int, ok bool)
	// write appends v.
	write(b []byte, v reflect.Value) (_ []byte, ok bool)
	// size is about how many bytes write appends.
	size(v reflect.Value) int
}

// readDirectly decodes text into v as how says; not ok where that is nil. Without ok
// it may have set some of what the text names.
func readDirectly(how direct, text []byte, v reflect.Value) (ok bool) {
	if how == nil {
		return false
	}
	end, ok := how.read(text, skipSpace(text, 0), v)
	return ok && skipSpace(text, end) == len(text)
}

// readDirectlyTo is readDirectly to what p points to.
func readDirectlyTo(p any, text []byte) (ok bool) {
	v := reflect.ValueOf(p)
	return v.Kind() == reflect.Pointer && !v.IsNil() && readDirectly(directOf(v.Type().Elem()), text, v.Elem())
}

// writeDirectly returns v as JSON text as how says; not ok where that is nil. A short
// text stands in *memory, which it may replace.
func writeDirectly(how direct, v reflect.Value, memory *[]byte) (e encoded, ok bool) {
	if how == nil {
		return e, false
	}
	e.valid = true
	size := how.size(v)
	if size <= shortText {
		if size > cap(*memory) {
			*memory = make([]byte, 0, max(size, 2*cap(*memory)))
		}
		e.text, ok = how.write(*memory, v)
		return e, ok
	}
	e.buf = newBuffer(size)
	e.text, ok = how.write(e.buf.b[:0], v)
	if !ok || !sameMemory(e.text[:1], e.buf.b[:1]) { // it was longer than expected
		e.buf.free()
		e.buf = nil
	}
	return e, ok
}

// shortText is how long a text is, in bytes, for which memory is cheaper made
// than kept for anybody. For long ones it is the other way round: the pages of new
// memory cost more than all that is written to them.
const shortText = 4 << 10

// directTypes has what directOf has found, a directType for each reflect.Type.
var directTypes sync.Map

type directType struct{ direct }

// directOf returns nil for types that are not plain.
func directOf(t reflect.Type) direct {
	known, ok := directTypes.Load(t)
	if !ok {
		known, _ = directTypes.LoadOrStore(t, directType{newDirect(t, nil)})
	}
	return known.(directType).direct
}

// newDirect is directOf for a type within others, in which it must not recur: what
// is plain is no deeper than its type.
func newDirect(t reflect.Type, within []reflect.Type) direct {
	if speaksForItself(t) {
		return nil
	}
	for _, outer := range within {
		if t == outer {
			return nil
		}
	}
	within = append(within[:len(within):len(within)], t)
	switch t.Kind() {
	case reflect.String:
		return directString{}
	case reflect.Bool:
		return directBool{}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return directInt{t.Bits()}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return directUint{t.Bits()}
	case reflect.Float32, reflect.Float64:
		return directFloat{t.Bits()}
	case reflect.Slice:
		if elem := newDirect(t.Elem(), within); elem != nil && t.Elem().Kind() != reflect.Uint8 { // base64
			return directSlice{elem}
		}
	case reflect.Pointer:
		if elem := newDirect(t.Elem(), within); elem != nil {
			return directPointer{elem}
		}
	case reflect.Struct:
		return newDirectStruct(t, within)
	}
	return nil
}

// speaksForItself reports whether the library asks values of the type what they
// are, or has a form of its own for them.
func speaksForItself(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Duration]() {
		return true
	}
	for _, marshaler := range []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.MarshalerTo](),
		reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[json.UnmarshalerFrom](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextAppender](),
		reflect.TypeFor[encoding.TextUnmarshaler](),
	} {
		if t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler) {
			return true
		}
	}
	return false
}

type directString struct{}

func (directString) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	if i == len(text) || text[i] != '"' {
		return i, false
	}
	if end = plainString(text, i+1); end > 0 {
		v.SetString(string(text[i+1 : end-1]))
		return end, true
	}
	end, invalid := skipString(text, i)
	if invalid != nil {
		return i, false
	}
	content := text[i+1 : end-1]
	if bytes.IndexByte(content, '\\') >= 0 {
		if len(content) > longEscaped {
			return i, false
		}
		var err error
		if content, err = jsontext.AppendUnquote(make([]byte, 0, len(content)), text[i:end]); err != nil {
			return i, false
		}
	}
	v.SetString(string(content))
	return end, true
}

func (directString) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	s, start := v.String(), len(b)
	b = append(append(append(b, '"'), s...), '"')
	if plainString(b, start+1) == len(b) {
		return b, true
	}
	end, invalid := skipString(b, start)
	if invalid == nil && end == len(b) && strings.IndexByte(s, '\\') < 0 {
		return b, true
	}
	if len(s) > longEscaped {
		return b, false
	}
	b, err := jsontext.AppendQuote(b[:start], s)
	return b, err == nil
}

// longEscaped is from which length on, in bytes, a string with escapes is the
// library's: it copies less.
const longEscaped = 4 << 10

func (directString) size(v reflect.Value) int { return v.Len() + len(`""`) }

type directBool struct{}

func (directBool) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	word := "true"
	if i < len(text) && text[i] == 'f' {
		word = "false"
	}
	end, err := skipLiteral(text, i, word)
	if err != nil {
		return i, false
	}
	v.SetBool(word == "true")
	return end, true
}

func (directBool) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	return strconv.AppendBool(b, v.Bool()), true
}

func (directBool) size(reflect.Value) int { return len("false") }

type directInt struct{ bits int }

func (p directInt) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	if n, end := shortInt(text, i); end > 0 && !v.OverflowInt(n) {
		v.SetInt(n)
		return end, true
	}
	number, end := numberAt(text, i)
	n, err := strconv.ParseInt(string(number), 10, p.bits)
	if err != nil {
		return i, false
	}
	v.SetInt(n)
	return end, true
}

func (directInt) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	return strconv.AppendInt(b, v.Int(), 10), true
}

func (directInt) size(reflect.Value) int { return len("-9223372036854775808") }

// shortInt returns the number that begins at text[i] and the index behind it, if it has
// nothing but a few digits; else 0.
func shortInt(text []byte, i int) (n int64, end int) {
	end = skipDigits(text, i)
	if digits := end - i; digits == 0 || digits > maxShortInt || (text[i] == '0' && digits > 1) {
		return 0, 0
	}
	for _, c := range text[i:end] {
		n = 10*n + int64(c-'0')
	}
	return n, end
}

// maxShortInt is how many digits any int64 can have.
const maxShortInt = 18

type directUint struct{ bits int }

func (p directUint) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	if n, end := shortInt(text, i); end > 0 && !v.OverflowUint(uint64(n)) {
		v.SetUint(uint64(n))
		return end, true
	}
	number, end := numberAt(text, i)
	n, err := strconv.ParseUint(string(number), 10, p.bits)
	if err != nil {
		return i, false
	}
	v.SetUint(n)
	return end, true
}

func (directUint) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	return strconv.AppendUint(b, v.Uint(), 10), true
}

func (directUint) size(reflect.Value) int { return len("18446744073709551615") }

type directFloat struct{ bits int }

func (p directFloat) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	number, end := numberAt(text, i)
	f, err := strconv.ParseFloat(string(number), p.bits)
	if err != nil {
		return i, false
	}
	v.SetFloat(f)
	return end, true
}

// write leaves what has an exponent (RFC 8785, section 3.2.2.3) or is no number.
func (p directFloat) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	f := v.Float()
	if size := math.Abs(f); size != 0 && !(1e-6 <= size && size < 1e21) {
		return b, false
	}
	return strconv.AppendFloat(b, f, 'f', -1, p.bits), true
}

func (directFloat) size(reflect.Value) int { return len("-0.0000012345678901234567") }

// numberAt returns the number that begins at text[i], which is empty if none does.
func numberAt(text []byte, i int) (number []byte, end int) {
	if i == len(text) {
		return nil, i
	}
	end, err := skipNumber(text, i)
	if err != nil {
		return nil, i
	}
	return text[i:end], end
}

type directSlice struct{ elem direct }

func (p directSlice) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	if i == len(text) || text[i] != '[' {
		return i, false
	}
	if i = skipSpace(text, i+1); i < len(text) && text[i] == ']' {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return i + 1, true
	}
	v.SetLen(0)
	for n := 0; ; n++ {
		if n == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(n + 1)
		elem := v.Index(n)
		elem.SetZero()
		if i, ok = p.elem.read(text, i, elem); !ok {
			return i, false
		}
		var last bool
		if i, last, ok = nextOrEnd(text, i, ']'); last || !ok {
			return i, ok
		}
	}
}

func (p directSlice) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, ok = p.elem.write(b, v.Index(i)); !ok {
			return b, false
		}
	}
	return append(b, ']'), true
}

func (p directSlice) size(v reflect.Value) int {
	n := len("[]")
	for i := range v.Len() {
		n += p.elem.size(v.Index(i)) + len(",")
	}
	return n
}

// nextOrEnd returns the index of what stands behind a comma, or behind the end of
// an array or object.
func nextOrEnd(text []byte, i int, closing byte) (next int, last, ok bool) {
	i = skipSpace(text, i)
	switch {
	case i == len(text):
		return i, false, false
	case text[i] == closing:
		return i + 1, true, true
	}
	return skipSpace(text, i+1), false, text[i] == ','
}

type directPointer struct{ elem direct }

func (p directPointer) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	return p.elem.read(text, i, v.Elem())
}

func (p directPointer) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	if v.IsNil() {
		return append(b, "null"...), true
	}
	return p.elem.write(b, v.Elem())
}

func (p directPointer) size(v reflect.Value) int {
	if v.IsNil() {
		return len("null")
	}
	return p.elem.size(v.Elem())
}
