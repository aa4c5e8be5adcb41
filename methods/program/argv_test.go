package program

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/methods/schema"
	"github.com/marianned/marianned/rpc"
)

const showing = `
exec = ["SELF", "--", "{s}", "n={n}", "{b}", "{s}{n}", "{{n}}", "last"]
result = "json"
environment = { SHOW_WHAT_I_GOT = "1" }
params.properties = { s = { type = "string" }, n = { type = "number" }, b = { type = "boolean" } }
`

func (s shown) args() (args []string) {
	for _, arg := range s.Args {
		args = append(args, string(arg))
	}
	return args
}

func TestAnElementOfAnAbsentParameterIsDropped(t *testing.T) {
	f := method(t, showing)
	require.Equal(t, []string{"--", "{n}", "last"}, f.shows(`{}`).args())
	require.Equal(t, []string{"--", "", "{n}", "last"}, f.shows(`{"s":""}`).args(), "an empty one is there")
	require.Equal(t, []string{"--", "n=0", "false", "{n}", "last"}, f.shows(`{"n":0,"b":false}`).args())
	require.Equal(t, []string{"--", "x", "n=1", "true", "x1", "{n}", "last"}, f.shows(`{"s":"x","n":1,"b":true}`).args())
}

func TestNumbersAreWrittenAsJSONWritesThem(t *testing.T) {
	f := method(t, showing)
	for _, number := range []string{"0", "12345678901234567890", "0.1", "1e5", "1E+2", "1.50", "-3.0e-7", "-0.01", "-10"} {
		require.Equal(t, "n="+number, f.shows(`{"n":` + number + `}`).args()[1])
	}
}

// A schema takes -0 for 0, and check takes minimum = 0 for the promise that no dash
// comes.
func TestZeroHasNoSign(t *testing.T) {
	f := method(t, `
exec = ["SELF", "{n}", "{one}"]
result = "json"
environment = { SHOW_WHAT_I_GOT = "1" }
params.properties = { n = { type = "number", minimum = 0 }, one = { enum = [0, 1] } }
`)
	for number, want := range map[string]string{"-0": "0", "-0.0": "0.0", "-0e7": "0e7", "-0.00E-1": "0.00E-1"} {
		require.Equal(t, []string{want, want}, f.shows(`{"n":`+number+`,"one":`+number+`}`).args(), number)
	}
}

func TestAStringIsOneArgumentWhateverItHolds(t *testing.T) {
	f := method(t, showing)
	for _, text := range []string{
		"-rf", "--help", "--", "-", "a b", "", " ", "\"", "'", `\`, "a\nb", "\r\n", "\t", "$(touch /tmp/x)", "`id`", "${PATH}", "%s%n",
		"../../etc/passwd", ";reboot", "|cat", "&", ">x", "*", "~", "{n}", "{{n}}", "#", "!", "ä€😀", "\u2028", "\x01", "\x7f",
		strings.Repeat("x", maxArgumentBytes),
	} {
		params, err := json.Marshal(map[string]string{"s": text})
		require.NoError(t, err)
		args := f.shows(string(params)).args()
		require.Equal(t, []string{"--", text, "{n}", "last"}, args)
	}
}

func TestWhatIsNoArgumentIsRefusedByName(t *testing.T) {
	f := method(t, showing)
	for params, want := range map[string]string{
		`{"s":"a\u0000b"}`:                           "invalid params: /s holds a NUL character, which no argument can",
		`{"s":"` + strings.Repeat("x", 2<<20) + `"}`: "invalid params: /s is too long for an argument: 2097152 bytes, expected at most 131071",
	} {
		wire, data := f.fails(params)
		require.Equal(t, rpc.CodeInvalidParams, wire.Code)
		require.Equal(t, want, wire.Message)
		require.Equal(t, "invalid_params", data["reason"])
		require.Equal(t, "argument", data["errors"].([]any)[0].(map[string]any)["rule"])
	}
	require.Empty(t, f.log.String(), "a caller's mistake is no event")
}

func TestArgumentsThatAreTooLongTogetherAreRefused(t *testing.T) {
	f := method(t, `
exec = ["/bin/true", "--", `+strings.Repeat(`"{s}", `, 100)+`]
params.properties.s.type = "string"
`)
	wire, _ := f.fails(`{"s":"` + strings.Repeat("x", 100_000) + `"}`)
	require.Equal(t, rpc.CodeInvalidParams, wire.Code)
	require.Equal(t, "invalid params: all arguments together are too long for a program", wire.Message)
}

func TestAProgramGetsParamsOnStdinWhole(t *testing.T) {
	f := method(t, "exec = [\"/bin/cat\"]\nstdin = \"params\"\nresult = \"json\"\nmax_output_bytes = 10000000\n"+
		"[methods.m.params.properties]\na = {}\nd = { type = \"integer\", default = 7 }\n")
	for _, params := range []string{`{"a":[1,{"b":null}],"d":1}`, `{"a":"` + strings.Repeat("x", 5<<20) + `","d":2}`} {
		require.JSONEq(t, params, f.result(params))
	}
	require.Equal(t, `{"d":7}`, f.result(`{}`))
	require.Equal(t, `{"d":7,"a":1.0}`, f.result(`{"a":1.0}`))
}

func TestAProgramThatIgnoresItsInputDoesNotHang(t *testing.T) {
	for _, line := range []string{"exit 0", "exec <&-; sleep 0.05", "head -c 1 >/dev/null"} {
		f := method(t, shell(line)+"stdin = \"params\"\nparams.properties.a = {}\n")
		require.Equal(t, `""`, f.result(`{"a":"`+strings.Repeat("x", 5<<20)+`"}`), line)
	}
}

// FuzzArgument holds the promise of placeholders: what a caller sends is one
// argument, byte for byte, or is refused by its name.
func FuzzArgument(f *testing.F) {
	for _, seed := range []string{"", "-rf", "a b", "a\x00b", "$(id)", "\xff\xfe", "\xed\xa0\x80", "{s}", "\n", strings.Repeat("y", maxArgumentBytes+1)} {
		f.Add([]byte(seed))
	}
	fixture := method(f, showing)
	f.Fuzz(func(t *testing.T, text []byte) {
		params := append(append([]byte(`{"s":"`), escape(text)...), `"}`...)
		values, _, err := fixture.params.Decode(params)
		if !utf8.Valid(text) {
			var problems schema.Problems
			require.ErrorAs(t, err, &problems)
			require.Equal(t, "/s", problems[0].Path)
			return
		}
		require.NoError(t, err)
		argv, err := fixture.program.argv(values)
		if strings.ContainsRune(string(text), 0) || len(text) > maxArgumentBytes {
			var problems schema.Problems
			require.ErrorAs(t, err, &problems)
			require.Equal(t, "/s", problems[0].Path)
			return
		}
		require.NoError(t, err)
		require.Equal(t, []string{"--", string(text), "{n}", "last"}, argv[1:])
		require.Equal(t, argv[1:], fixture.in(t).shows(string(params)).args())
	})
}

// escape writes bytes into a JSON string, those that are no UTF-8 as they are.
func escape(text []byte) (escaped []byte) {
	for _, b := range text {
		switch {
		case b < ' ' || b == '"' || b == '\\':
			escaped = append(escaped, `\u00`...)
			escaped = append(escaped, "0123456789abcdef"[b>>4], "0123456789abcdef"[b&15])
		default:
			escaped = append(escaped, b)
		}
	}
	return escaped
}

func TestABrokenSurrogateIsNoText(t *testing.T) {
	f := method(t, showing)
	for _, text := range []string{`\ud800`, `\udc00`, `\ud800x`, `\ud800\ud800`} {
		_, _, err := f.params.Decode(rpc.RawMessage(`{"s":"` + text + `"}`))
		var problems schema.Problems
		require.True(t, errors.As(err, &problems), text)
		require.Equal(t, "/s", problems[0].Path)
	}
	require.Equal(t, "😀", f.shows(`{"s":"\ud83d\ude00"}`).args()[1])
}

func TestPlaceholdersAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"{":      "does not end",
		"a{b":    "does not end",
		"{}":     "does not end",
		"{a{b}}": "does not end",
		"}":      `a "}" without its "{"`,
		"{s}}":   `a "}" without its "{"`,
		"a\x00":  "NUL",
	} {
		_, err := parseElement(text)
		require.ErrorContains(t, err, want, text)
	}
	for text, want := range map[string]element{
		"":        {{text: ""}},
		"a":       {{text: "a"}},
		"{{}}":    {{text: "{}"}},
		"{{s}}":   {{text: "{s}"}},
		"{s}":     {{parameter: "s"}},
		"{{{s}}}": {{text: "{"}, {parameter: "s"}, {text: "}"}},
		"a{s}b":   {{text: "a"}, {parameter: "s"}, {text: "b"}},
		"{s}{t}":  {{parameter: "s"}, {parameter: "t"}},
	} {
		e, err := parseElement(text)
		require.NoError(t, err, text)
		require.Equal(t, want, e, text)
	}
}

func TestAProgramOfAnotherUserSaysWhoAndRunsOutside(t *testing.T) {
	for text, want := range map[string]string{
		"runner = \"unit\"":                     `runner = "unit" is for a program of another user than the daemon`,
		"runner = \"thread\"":                   `runner is "thread", expected one of: child, unit`,
		"runner = \"child\"\nuser = \"nobody\"": `user is "nobody", but runner = "child" runs programs as the daemon's own user`,
	} {
		_, findings := read(t, "exec = [\"/bin/true\"]\n"+text)
		require.ErrorContains(t, findings.Err(), want)
	}
}

func TestTheCredentialOfAUserHasItsGroupsAndNoOther(t *testing.T) {
	root, err := credentialOf("root")
	require.NoError(t, err)
	require.Zero(t, root.Uid)
	byNumber, err := credentialOf("0")
	require.NoError(t, err)
	require.Equal(t, root, byNumber)
	nobody, err := credentialOf("nobody")
	require.NoError(t, err)
	require.NotContains(t, nobody.Groups, uint32(0))
	for _, name := range []string{"no-such-user", "4294967294", ""} {
		_, err = credentialOf(name)
		require.Error(t, err, name)
	}
}

// An argument begins with what its first placeholder stands for, whatever comes
// after it.
func TestWhereAnOptionCouldBePassedIsWarnedOf(t *testing.T) {
	const params = "\nparams.properties = { any = { type = \"string\" }, path = { type = \"string\", pattern = \"^/\" }, n = { type = \"integer\", minimum = 0 } }\n"
	for exec, want := range map[string]string{
		`"{any}"`:              ":2:22: ",
		`"{any}.service"`:      ":2:22: ",
		`"{any}{n}"`:           ":2:22: ",
		`"-x", "{any}"`:        ":2:28: ",
		`"{path}"`:             "",
		`"{n}"`:                "",
		`"--unit={any}"`:       "",
		`"x{any}"`:             "",
		`"--", "{any}.{any}"`:  "",
		`"{path}/{any}", "--"`: "",
	} {
		_, findings := read(t, "exec = [\"/bin/true\", "+exec+"]"+params)
		require.NoError(t, findings.Err(), exec)
		if want == "" {
			require.Empty(t, findings, exec)
			continue
		}
		require.Len(t, findings, 1, exec)
		require.Contains(t, findings[0].String(), want)
		require.Contains(t, findings[0].String(), "{any} may begin with a dash")
	}
}
