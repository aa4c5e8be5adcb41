package units

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePathOfTheBinaryIsWrittenSoThatItIsReadBack(t *testing.T) {
	for _, test := range []struct{ name, path, want string }{
		{"plain, as people write it", "/usr/local/bin/marianned-1.2_3+x", "/usr/local/bin/marianned-1.2_3+x"},
		{"a space would end the word", "/opt/my tools/marianned", `"/opt/my tools/marianned"`},
		{"a percent sign would be a specifier", "/opt/100%h/marianned", `"/opt/100%%h/marianned"`},
		{"a dollar sign would be a variable", "/opt/${HOME}/$x", `":/opt/${HOME}/$x"`},
		{"dollar and percent", "/opt/$%n", `":/opt/$%%n"`},
		{"a semicolon", "/opt/a ; b", `"/opt/a ; b"`},
		{"not ASCII", "/opt/übung/marianned", `"/opt/übung/marianned"`},
		{"a prefix character that is not first", "/opt/@-+!:|", `"/opt/@-+!:|"`},
		{"a comment character", "/opt/#x", `"/opt/#x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			word, err := quoteExecutable(test.path)
			require.NoError(t, err)
			require.Equal(t, test.want, word)
		})
	}
}

func TestAPathThatNoUnitCanNameIsRefusedNamingWhatIsInTheWay(t *testing.T) {
	for _, test := range []struct{ name, path, want string }{
		{"empty of meaning", "/", "shortest form"},
		{"relative", "bin/marianned", "relative"},
		{"dots", "/opt/../marianned", `expected "/marianned"`},
		{"double slash", "/opt//marianned", `expected "/opt/marianned"`},
		{"trailing slash", "/opt/marianned/", "shortest form"},
		{"double quote", `/opt/"q"/marianned`, `it contains '"'`},
		{"single quote", "/opt/ann's/marianned", `it contains '\''`},
		{"backslash", `/opt/a\x20b/marianned`, `it contains '\\'`},
		{"line feed, that would be a directive", "/opt/a\nExecStartPre=/bin/x", `it contains '\n'`},
		{"tab", "/opt/a\tb", `it contains '\t'`},
		{"delete", "/opt/a\x7f", `it contains '\x7f'`},
		{"C1 control", "/opt/a\u0085b", `it contains '\u0085'`},
		{"NUL", "/opt/a\x00b", `it contains '\x00'`},
		{"not UTF-8", "/opt/\xff", "not UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := quoteExecutable(test.path)
			require.ErrorContains(t, err, test.want)
		})
	}
}
