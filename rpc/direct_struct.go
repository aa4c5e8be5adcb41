package rpc

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
)

// directStruct reads and writes an object, member by member.
type directStruct struct{ fields []directField }

type directField struct {
	direct
	index  int
	member []byte // the name in quotes, and a colon
}

// name returns the name in quotes.
func (f *directField) name() []byte { return f.member[:len(f.member)-1] }

// newDirectStruct returns nil for structs that need the library: others' fields,
// options, or names that have to be looked at twice.
func newDirectStruct(t reflect.Type, within []reflect.Type) direct {
	p := new(directStruct)
	for f := range t.Fields() {
		tag, tagged := f.Tag.Lookup("json")
		if f.Anonymous || strings.Contains(tag, ",") || (tagged && !f.IsExported()) {
			return nil
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		name := f.Name
		if tag != "" {
			name = tag
		}
		field := directField{direct: newDirect(f.Type, within), index: f.Index[0], member: append(strconv.AppendQuote(nil, name), ':')}
		if field.direct == nil || strings.Trim(name, nameBytes) != "" || p.find(field.name(), 0) >= 0 {
			return nil
		}
		p.fields = append(p.fields, field)
	}
	if n := len(p.fields); n > 64 || n == 0 && t.NumField() > 0 {
		return nil
	}
	return p
}

// nameBytes are what the names that people give to parameters consist of.
const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

// find returns the field with a name in quotes, or -1. Most members come in the
// order of the fields, and the n-th is looked for first in the n-th place.
func (p *directStruct) find(name []byte, n int) int {
	for range p.fields {
		if n >= len(p.fields) {
			n = 0
		}
		if bytes.Equal(p.fields[n].name(), name) {
			return n
		}
		n++
	}
	return -1
}

func (p *directStruct) read(text []byte, i int, v reflect.Value) (end int, ok bool) {
	if i == len(text) || text[i] != '{' {
		return i, false
	}
	if i = skipSpace(text, i+1); i < len(text) && text[i] == '}' {
		return i + 1, true
	}
	var seen uint64
	for n := 0; ; n++ {
		behind := 0
		if n < len(p.fields) && bytes.HasPrefix(text[i:], p.fields[n].member) {
			behind = i + len(p.fields[n].member)
		} else {
			name, next, err := scanName(text, i)
			if err != nil {
				return i, false
			}
			n, behind = p.find(name, n), next
		}
		if n < 0 || seen>>n&1 != 0 {
			return i, false
		}
		seen |= 1 << n
		field := &p.fields[n]
		if i, ok = field.read(text, skipSpace(text, behind), v.Field(field.index)); !ok {
			return i, false
		}
		var last bool
		if i, last, ok = nextOrEnd(text, i, '}'); last || !ok {
			return i, ok
		}
	}
}

func (p *directStruct) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	b = append(b, '{')
	for i := range p.fields {
		if i > 0 {
			b = append(b, ',')
		}
		field := &p.fields[i]
		b = append(b, field.member...)
		if b, ok = field.write(b, v.Field(field.index)); !ok {
			return b, false
		}
	}
	return append(b, '}'), true
}

func (p *directStruct) size(v reflect.Value) int {
	n := len("{}")
	for i := range p.fields {
		n += len(p.fields[i].member) + len(",") + p.fields[i].direct.size(v.Field(p.fields[i].index))
	}
	return n
}
