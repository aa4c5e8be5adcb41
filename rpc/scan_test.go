package rpc

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// isJSON is the verdict of this package on a whole text.
func isJSON(b []byte) bool {
	end, err := skipValue(b, 0, 0)
	return err == nil && trailing(b, end) == nil
}

func TestJSONIsToldFromWhatIsNot(t *testing.T) {
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{`null`, true}, {` true `, true}, {`false`, true}, {`0`, true}, {`-0.5e+10`, true}, {`1E5`, true},
		{`""`, true}, {`"\u00e9\n\\\"\/"`, true}, {`"é"`, true}, {`"\ud800"`, true}, // lone surrogates are grammatical
		{`[]`, true}, {`[ ]`, true}, {`{}`, true}, {`{ }`, true}, {`[1,[2,{"a":{}}]]`, true}, {"\t[1]\r\n", true},
		{``, false}, {` `, false}, {`nul`, false}, {`nulll`, false}, {`01`, false}, {`-`, false}, {`1.`, false}, {`.5`, false},
		{`1e`, false}, {`+1`, false}, {`"`, false}, {`"\x"`, false}, {`"\u00g0"`, false}, {`"\u00`, false}, {"\"\x01\"", false},
		{"\"\xff\"", false}, {"\"\xc0\x80\"", false}, {"\"\xed\xa0\x80\"", false}, {"\"\xf4\x90\x80\x80\"", false},
		{`[`, false}, {`]`, false}, {`[1`, false}, {`[1,]`, false}, {`[,1]`, false}, {`[1 2]`, false}, {`[1}`, false},
		{`{`, false}, {`{"a"}`, false}, {`{"a":}`, false}, {`{"a":1,}`, false}, {`{a:1}`, false}, {`{"a":1]`, false}, {`{1:2}`, false},
		{`1 2`, false}, {`{}x`, false}, {"\xef\xbb\xbf{}", false}, // a byte order mark is no JSON, RFC 8259 section 8.1
	} {
		require.Equal(t, c.ok, isJSON([]byte(c.text)), "%q", c.text)
	}
}

func TestStringsAreCheckedWhereverTheStopByteFalls(t *testing.T) {
	for n := range 40 {
		for _, bad := range []string{"\x00", "\x1f", "\xff", `\q`} {
			text := `"` + strings.Repeat("a", n) + bad + strings.Repeat("b", 20) + `"`
			require.False(t, isJSON([]byte(text)), "%q", text)
		}
		for _, good := range []string{"\x7f", "é", "\U0010ffff", `\n`, " ", "!"} {
			text := `"` + strings.Repeat("a", n) + good + strings.Repeat("b", 20) + `"`
			require.True(t, isJSON([]byte(text)), "%q", text)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	for _, pair := range []string{"[]", `{"a":1}`} {
		open, closing, inner := pair[:len(pair)-1], pair[len(pair)-1:], ""
		if pair != "[]" {
			open, inner = `{"a":`, "1"
		}
		deep := func(n int) []byte {
			return []byte(strings.Repeat(open, n) + inner + strings.Repeat(closing, n))
		}
		require.True(t, isJSON(deep(maxDepth)), pair)
		require.False(t, isJSON(deep(maxDepth+1)), pair)
		require.False(t, isJSON([]byte(strings.Repeat(open, 1<<20))), pair)
	}
}

// depth returns how deep a valid text nests.
func depth(b []byte) (max int) {
	d := json.NewDecoder(bytes.NewReader(b))
	level := 0
	for {
		tok, err := d.Token()
		if err != nil {
			return max
		}
		switch tok {
		case json.Delim('['), json.Delim('{'):
			level++
		case json.Delim(']'), json.Delim('}'):
			level--
		}
		if level > max {
			max = level
		}
	}
}

func FuzzTheScannerAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"x\u00e9",null,true]}`, `[[[]],{}]`, `"\ud83d\ude00é"`, `-0`, `[1,]`, "\"\xff\"", ` {"a" : 1 , "b":[ ] } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := isJSON(b)
		want := json.Valid(b) && utf8.Valid(b)
		if want && depth(b) > maxDepth {
			want = false
		}
		if got != want {
			t.Fatalf("this package says %t, encoding/json and utf8 say %t: %q", got, want, b)
		}
	})
}

// oracle reads an envelope by encoding/json's tokens: exact names, in order.
func oracle(b []byte) (members map[string][]json.RawMessage, object bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil, false
	}
	members = make(map[string][]json.RawMessage)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, false
		}
		members[name.(string)] = append(members[name.(string)], v)
	}
	return members, true
}

func FuzzTheEnvelopeAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","method":"a","params":[1],"id":1}`,
		`{"jsonrpc":"2.0","method":"a","METHOD":"b","id":"x\u0041"}`,
		`{"jsonrpc":"2.0","method":"a","method":"b","id":1}`,
		`{"\u006a\u0073onrpc":"2.0","m\u0065thod":"a","id":null}`,
		`{"id":1,"id":2}`, `[]`, `{"jsonrpc":2.0,"method":"\ud800","id":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var env envelope
		err := parseEnvelope(b, &env)
		if valid := isJSON(b); valid != (err == nil) {
			t.Fatalf("valid %t, but error %v: %q", valid, err, b)
		} else if !valid {
			return
		}
		members, object := oracle(b)
		if !object {
			if env.invalid == "" {
				t.Fatalf("no object, but taken as a request: %q", b)
			}
			return
		}
		once := func(name string) (json.RawMessage, bool) {
			v := members[name]
			if len(v) != 1 {
				return nil, false
			}
			return v[0], true
		}
		wellFormed := true
		for _, name := range []string{"jsonrpc", "method", "params", "id"} {
			if len(members[name]) > 1 {
				wellFormed = false
			}
		}
		var version, method string
		v, ok := once("jsonrpc")
		wellFormed = wellFormed && ok && json.Unmarshal(v, &version) == nil && v[0] == '"' && version == "2.0"
		m, ok := once("method")
		wellFormed = wellFormed && ok && json.Unmarshal(m, &method) == nil && m[0] == '"'
		if p, ok := once("params"); ok {
			wellFormed = wellFormed && (p[0] == '{' || p[0] == '[' || p[0] == 'n')
		}
		id, ok := once("id")
		if ok {
			wellFormed = wellFormed && id[0] != '{' && id[0] != '[' && id[0] != 't' && id[0] != 'f'
		}
		if wellFormed != (env.invalid == "") {
			t.Fatalf("well formed %t, but invalid %q: %q", wellFormed, env.invalid, b)
		}
		if !wellFormed {
			return
		}
		if string(env.method) != method {
			t.Fatalf("method %q, expected %q: %q", env.method, method, b)
		}
		if notification := !ok || id[0] == 'n'; notification != (env.id == nil) || (!notification && !bytes.Equal(env.id, id)) {
			t.Fatalf("id %q, expected %q: %q", env.id, id, b)
		}
		p, ok := once("params")
		if absent := !ok || p[0] == 'n'; absent != (env.params == nil) || (!absent && !bytes.Equal(env.params, p)) {
			t.Fatalf("params %q, expected %q: %q", env.params, p, b)
		}
	})
}

func FuzzABatchIsCutWhereEncodingJSONCutsIt(f *testing.F) {
	for _, s := range []string{`[]`, `[1]`, ` [ {"a":[1,2]} , "x,]" ] `, `[1,]`, `[1] 2`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i := skipSpace(b, 0)
		if i >= len(b) || b[i] != '[' {
			return
		}
		elements, count, err := splitArray(b[i:], 5)
		if valid := isJSON(b); valid != (err == nil) {
			t.Fatalf("valid %t, but error %v: %q", valid, err, b)
		} else if !valid {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if count != len(want) || len(elements) != min(count, 5) {
			t.Fatalf("%d elements, %d kept, expected %d: %q", count, len(elements), len(want), b)
		}
		for i, e := range elements {
			if !bytes.Equal(e, want[i]) {
				t.Fatalf("element %d is %q, expected %q: %q", i, e, want[i], b)
			}
		}
	})
}
