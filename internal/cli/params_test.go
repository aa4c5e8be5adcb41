package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArgumentsBecomeAParamsObject(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"no arguments are no params", nil, ""},
		{"a string", []string{"a=b"}, `{"a":"b"}`},
		{"a string that looks like a number", []string{"a=1"}, `{"a":"1"}`},
		{"an empty string", []string{"a="}, `{"a":""}`},
		{"the first equals sign ends the key", []string{"a=b=c", "d:=\"e=f\""}, `{"a":"b=c","d":"e=f"}`},
		{"the order of the arguments is kept", []string{"b=1", "a=2"}, `{"b":"1","a":"2"}`},
		{"white space belongs to a string", []string{"a= b "}, `{"a":" b "}`},
		{"quotes, controls and HTML in a string", []string{"a=\"\\<&>\n\x7f\u2028"}, `{"a":"\"\\<&>\n` + "\x7f" + `\u2028"}`},
		{"a key of any characters", []string{`"ä.b=c`}, `{"\"ä.b":"c"}`},
		{"JSON values", []string{"a:=true", "b:=null", "c:=[1, {\"d\": 2}]"}, `{"a":true,"b":null,"c":[1,{"d":2}]}`},
		{"JSON on several lines becomes one", []string{"a:=[1,\n\t2\r\n]"}, `{"a":[1,2]}`},
		{"a number keeps its digits", []string{"a:=123456789012345678901234567890", "b:=1.000000000000000000001", "c:=-0", "d:=1E400"},
			`{"a":123456789012345678901234567890,"b":1.000000000000000000001,"c":-0,"d":1E400}`},
		{"a string value keeps its escapes", []string{`a:="\u003c\/"`}, `{"a":"\u003c\/"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseMembers(test.args)
			require.NoError(t, err)
			require.Equal(t, test.want, string(formatMembers(got)))
		})
	}
}

func TestAWrongArgumentIsNamed(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"no equals sign", []string{"verbose"}, `parameter "verbose" has no "=", expected key=value`},
		{"no key", []string{"=b"}, `parameter "=b" has no key`},
		{"no key before a JSON value", []string{":=1"}, `parameter ":=1" has no key`},
		{"given twice", []string{"a=1", "b=2", "a:=3"}, `parameter "a" is given twice`},
		{"a bare word as JSON", []string{"size:=large"}, `parameter "size": not JSON at character 1: invalid character 'l'`},
		{"an error in the middle, counted in characters", []string{`a:=["äöü", x]`}, `parameter "a": not JSON at character 9: invalid character 'x'`},
		{"two values", []string{"a:=1 2"}, `parameter "a": not JSON at character 3`},
		{"an unfinished value", []string{`a:=[1,`}, `parameter "a": the JSON text ends too early, after 3 bytes`},
		{"no value", []string{"a:="}, `parameter "a": nothing found, expected a JSON value`},
		{"a string that is not UTF-8", []string{"a=\xff"}, `parameter "a" is not UTF-8`},
		{"JSON that is not UTF-8", []string{"a:=\"\xff\""}, `parameter "a" is not UTF-8`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseMembers(test.args)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, 64, ExitCode(err))
		})
	}
}

func TestParamsComeFromAFileOrStdin(t *testing.T) {
	for _, test := range []struct {
		name, text, want, wantErr string
	}{
		{name: "an object", text: "{\n  \"a\": 1\n}\n", want: `{"a":1}`},
		{name: "an array", text: "[1, 2]", want: `[1,2]`},
		{name: "null is none", text: " null ", want: `null`},
		{name: "a string", text: `"a"`, wantErr: "holds a string, expected a JSON object or array"},
		{name: "a number", text: `1`, wantErr: "holds a number, expected"},
		{name: "nothing", text: " \n", wantErr: "nothing found, expected a JSON value"},
		{name: "an error on a later line", text: "{\n  \"a\": 1,\n  b\n}", wantErr: "not JSON at line 3, character 3: invalid character 'b'"},
		{name: "bytes that are not UTF-8", text: "{\"a\":\n\"ä\xff\"}", wantErr: "invalid UTF-8 at line 2, character 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "params.json")
			require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
			for source, got := range map[string]func() ([]byte, error){
				path:    func() ([]byte, error) { return readParams(path, nil) },
				"stdin": func() ([]byte, error) { return readParams("-", strings.NewReader(test.text)) },
			} {
				text, err := got()
				if test.wantErr != "" {
					require.ErrorContains(t, err, test.wantErr)
					require.ErrorContains(t, err, source)
					require.Equal(t, 64, ExitCode(err))
					continue
				}
				require.NoError(t, err)
				require.Equal(t, test.want, string(text))
			}
		})
	}
}

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestEndlessParamsAreRefused(t *testing.T) {
	_, err := readParams("-", endless{})
	require.ErrorContains(t, err, "larger than 64 MiB")
	require.Equal(t, 64, ExitCode(err))
}

func TestAMissingParamsFileIsNamed(t *testing.T) {
	_, err := readParams("/nonexistent/params.json", nil)
	require.ErrorContains(t, err, "/nonexistent/params.json")
	require.Equal(t, 64, ExitCode(err))
}
