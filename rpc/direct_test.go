package rpc

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	directBase struct{ Host string }

	directInner struct {
		Name  string   `json:"name"`
		Tags  []string `json:"tags"`
		Ports []uint16
	}
	directOuter struct {
		A      int8          `json:"a"`
		B      uint64        `json:"b"`
		F      float32       `json:"f"`
		G      float64       `json:"g"`
		OK     bool          `json:"ok"`
		S      directKind    `json:"s"`
		In     directInner   `json:"in"`
		Many   []directInner `json:"many"`
		P      *int          `json:"p"`
		PP     **directInner `json:"pp"`
		Deep   [][]*bool     `json:"deep"`
		Hidden chan int      `json:"-"`
		_      int           // is none of JSON's business
	}
	directKind string

	directTree struct{ Nodes []directTree }

	directText   struct{ N int }
	directOpaque struct{ N int }
)

// String does not matter to JSON.
func (k directKind) String() string { return "kind " + string(k) }

func (t *directText) UnmarshalText([]byte) error     { t.N = 1; return nil }
func (t *directOpaque) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

// directValues makes one value of each type that the tests are about, with
// something in it if filled.
var directValues = map[string]func(filled bool) any{
	"string":  func(bool) any { return new(string) },
	"float64": func(bool) any { return new(float64) },
	"pointer": func(bool) any { return new(*uint8) },
	"struct": func(filled bool) any {
		if !filled {
			return new(directOuter)
		}
		one := 1
		in := &directInner{Name: "old", Tags: []string{"x", "y", "z"}}
		return &directOuter{A: 5, S: "s", In: *in, Many: []directInner{*in, *in}, P: &one, PP: &in, Deep: [][]*bool{nil, {nil}}}
	},
	"slice": func(filled bool) any {
		if !filled {
			return new([]directInner)
		}
		return &[]directInner{{Name: "a", Tags: []string{"b"}}, {Name: "c"}, {Ports: []uint16{1}}}
	},
	"strings": func(filled bool) any {
		if !filled {
			return new([]string)
		}
		return &[]string{"a", "b", "c", "d"}
	},
	"nothing": func(bool) any { return new(NoParams) },
}

// agrees fails if what is read or written directly differs from the library's.
// It returns whether it was read directly.
func agrees(t *testing.T, text []byte, value func(filled bool) any, filled bool) bool {
	t.Helper()
	got, want := value(filled), value(filled)
	taken := readDirectlyTo(got, text)
	err := json.Unmarshal(text, want, decodeOptions)
	if !taken {
		if err == nil { // what was read of it makes no difference
			require.NoError(t, json.Unmarshal(text, got, decodeOptions))
			require.Equal(t, want, got, "%T of %q", got, text)
		}
		return false
	}
	require.NoError(t, err, "%T of %q", got, text)
	require.Equal(t, want, got, "%T of %q", got, text)
	writesTheSame(t, got)
	return true
}

// TestLongTextsStandInABuffer that serves the next one too, unless they turn out
// longer than expected.
func TestLongTextsStandInABuffer(t *testing.T) {
	for name, test := range map[string]struct {
		value  any
		pooled bool
	}{
		"short":         {"x", false},
		"one string":    {strings.Repeat("x", 100<<10), true},
		"many strings":  {[]string{strings.Repeat("x", 3<<10), strings.Repeat("y", 3<<10)}, true},
		"in a struct":   {&directInner{Name: strings.Repeat("x", 1<<20)}, true},
		"many integers": {make([]int, 3000), true},
		"escaped":       {slices.Repeat([]string{strings.Repeat("\n", 3000)}, 2), true}, // fits all the same
		"outgrown":      {slices.Repeat([]string{strings.Repeat("\x01", 3000)}, 30), false},
		"the library's": {strings.Repeat("\n", 1<<20), false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := marshal(test.value)
			require.NoError(t, err)
			assert.Equal(t, test.pooled, e.buf != nil)
			want, err := json.Marshal(test.value)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(e.keep()))
		})
	}
}

func writesTheSame(t *testing.T, value any) (taken bool) {
	t.Helper()
	v := reflect.ValueOf(value)
	got, taken := writeDirectly(directOf(v.Type()), v, new([]byte))
	defer got.buf.free()
	if taken {
		want, err := json.Marshal(value)
		require.NoError(t, err, "%T", value)
		require.Equal(t, string(want), string(got.text), "%T", value)
	}
	return taken
}

var directTexts = []struct {
	text  string
	taken string // by which types, or none
}{
	{`"abc"`, "string"},
	{`"a\n\u00e9\ud83d\ude00"`, "string"},
	{`"Zwölf größere 视野无限广"`, "string"},
	{`""`, "string"},
	{" \n\"x\"\t ", "string"},
	{`"\ud83d"`, ""},
	{`"abc" "d"`, ""},
	{`"abc`, ""},
	{`null`, ""},
	{``, ""},
	{`7`, "float64 pointer"},
	{`-0`, "float64"},
	{`256`, "float64"},
	{`1.5e3`, "float64"},
	{`1e400`, ""},
	{`01`, ""},
	{`+1`, ""},
	{`{}`, "nothing struct"},
	{`{"x":1}`, ""},
	{`{"a":-128,"b":18446744073709551615,"ok":true}`, "struct"},
	{`{"a":128}`, ""},
	{`{"b":-1}`, ""},
	{`{"a":1.0}`, ""},
	{`{"a":01}`, ""},
	{`{"b":00}`, ""},
	{`{"a":0,"b":0}`, "struct"},
	{`{"p":9223372036854775807}`, "struct"},
	{`{"p":9999999999999999999}`, ""},
	{`{"b":18446744073709551616}`, ""},
	{`{"a":1,"a":1}`, ""},
	{`{"A":1}`, ""},
	{`{"\u0061":1}`, ""},
	{`{"a":null}`, ""},
	{`{"a":1,}`, ""},
	{`{"a":1`, ""},
	{`{"a":}`, ""},
	{`{"ok":1}`, ""},
	{`{"Hidden":1}`, ""},
	{`{"p":null}`, ""},
	{"{ \"ok\" : false , \"a\" :\t1 , \"f\":3.4e38,\"g\" : -1e-7\n}", "struct"},
	{`{"f":3.5e38}`, ""},
	{`{"in":{"name":"n","tags":["a","b\\"],"Ports":[1, 65535]},"many":[{},{"tags":[]}, {"name":"x"}]}`, "struct"},
	{`{"in":{"name":"n","name":"m"}}`, ""},
	{`{"s":"kind","p":3,"pp":{"name":"new","tags":["q"]},"deep":[[],[true,false],[true]]}`, "struct"},
	{`{"deep":[[null]]}`, ""},
	{`{"many":[{"tags":[1]}]}`, ""},
	{`[]`, "slice strings"},
	{`[ "a" , "b" ]`, "strings"},
	{`["a",]`, ""},
	{`["a" "b"]`, ""},
	{`[{"name":"n"},{}]`, "slice"},
	{`["a","b","c","d","e","f"]`, "strings"},
	{`[`, ""},
	{`{`, ""},
	{`{"`, ""},
	{`["` + strings.Repeat("long ", 5000) + `"]`, "strings"},
}

func TestWhatIsReadDirectlyIsWhatTheLibraryReads(t *testing.T) {
	for _, test := range directTexts {
		for name, value := range directValues {
			for _, filled := range []bool{false, true} {
				taken := agrees(t, []byte(test.text), value, filled)
				assert.Equal(t, strings.Contains(" "+test.taken+" ", " "+name+" "), taken, "%s of %.80q", name, test.text)
			}
		}
	}
}

func FuzzWhatIsReadDirectlyIsWhatTheLibraryReads(f *testing.F) {
	for _, test := range directTexts {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, value := range directValues {
			agrees(t, text, value, false)
			agrees(t, text, value, true)
		}
	})
}

func TestWhatIsWrittenDirectlyIsWhatTheLibraryWrites(t *testing.T) {
	long := strings.Repeat("x", 4000)
	for _, ending := range []string{"", "é€😀", `"`, `\`, `\u0041`, "\n", "\x00", "\x7f", "<&>", "\u2028", `"}` + "\n"} {
		in := directInner{Name: ending, Tags: []string{long + ending, ending}}
		assert.True(t, writesTheSame(t, in), "%q", ending)
		assert.True(t, writesTheSame(t, directOuter{S: directKind(long + ending), In: in, Many: []directInner{in, {}}}), "%q", ending)
	}
	yes, in := true, &directInner{}
	assert.True(t, writesTheSame(t, &directOuter{PP: &in, Deep: [][]*bool{{&yes, nil}, nil, {}}}))
	assert.True(t, writesTheSame(t, (*directOuter)(nil)))
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e-6, 123456789.125, 1e20, math.MaxInt64} {
		assert.True(t, writesTheSame(t, f), "%v", f)
		assert.True(t, writesTheSame(t, float32(f)) || f == 1e-6, "%v", f)
	}
	for _, n := range []any{int8(-128), int64(math.MinInt64), uint64(math.MaxUint64), uint8(7), true, false} {
		assert.True(t, writesTheSame(t, n))
	}
	for name, value := range map[string]any{
		"invalid UTF-8": "a\xff", "infinity": math.Inf(1), "no number": math.NaN(),
		"large": 1e21, "tiny": 1e-7, "float32": float32(1e-6),
	} {
		assert.False(t, writesTheSame(t, value), name)
		_, err := encode(value)
		_, wanted := json.Marshal(value)
		assert.Equal(t, wanted, err, name)
	}
}

func TestTypesThatAreNotPlainAreTheLibrarys(t *testing.T) {
	for _, value := range []any{
		time.Second, time.Time{}, []byte("base64"), map[string]int{"a": 1}, [2]int{}, any(nil), new(any), complex(1, 1),
		RawMessage("{}"), directTree{}, directText{}, &directText{}, []directOpaque{}, make(chan int), struct{ n int }{},
		struct{ directBase }{}, struct{ X any }{}, struct {
			A int `json:"a,omitempty"`
		}{}, struct {
			A int `json:"a b"`
		}{}, struct {
			When *time.Time
		}{},
	} {
		if value != nil {
			assert.Nil(t, directOf(reflect.TypeOf(value)), "%T", value)
		}
	}
	number := func(name, path string) reflect.StructField {
		return reflect.StructField{Name: name, PkgPath: path, Type: reflect.TypeFor[int](), Tag: `json:"a"`}
	}
	assert.NotNil(t, directOf(reflect.StructOf([]reflect.StructField{number("A", "")})))
	assert.Nil(t, directOf(reflect.StructOf([]reflect.StructField{number("A", ""), number("B", "")})))
	assert.Nil(t, directOf(reflect.StructOf([]reflect.StructField{{Name: "B", Type: reflect.TypeFor[int]()}, number("a", "rpc")})))
	var p map[string]time.Duration
	assert.False(t, readDirectlyTo(&p, []byte(`{}`)))
	assert.False(t, readDirectlyTo(p, []byte(`{}`)))
	assert.False(t, readDirectlyTo((*NoParams)(nil), []byte(`{}`)))
}

func BenchmarkTyped(b *testing.B) {
	for _, test := range []struct{ name, text string }{
		{"small", "hello, world"},
		{"1MiB", strings.Repeat("0123456789abcdef", 64<<10)},
		{"1MiB/mixed", strings.Repeat("Zwölf größere; Съешь ещё этих; 视野无限广", 18<<10)},
		{"1MiB/escapes", strings.Repeat(`0123456789abcdef\n`, 60<<10)},
	} {
		params := RawMessage(`{"a":1,"b":"` + test.text + `"}`)
		direct := func(p *typedParams) error {
			if err := DecodeParams(params, p); err != nil {
				return err
			}
			e, err := marshal(*p)
			e.buf.free()
			return err
		}
		library := func(p *typedParams) error {
			if err := json.Unmarshal(params, p, decodeOptions); err != nil {
				return err
			}
			_, err := json.Marshal(*p)
			return err
		}
		for name, way := range map[string]func(*typedParams) error{"direct": direct, "library": library} {
			b.Run(test.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(params)))
				b.ReportAllocs()
				for b.Loop() {
					var p typedParams
					if err := way(&p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
