package units

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quoteExecutable writes path as the first word of an Exec…= line, such that
// systemd reads back exactly path and nothing of it is a specifier, a variable,
// a prefix or a second word (systemd.service(5), "COMMAND LINES";
// systemd.syntax(7), "QUOTING"). What systemd accepts in no spelling is refused.
func quoteExecutable(path string) (string, error) {
	refuse := func(found, expected string) (string, error) {
		return "", fmt.Errorf("units: the path of the binary is %q: %s, expected %s; "+
			"install the binary elsewhere and run it from there", path, found, expected)
	}
	switch {
	case !filepath.IsAbs(path):
		return refuse("it is relative", "an absolute path")
	case filepath.Clean(path) != path || path == "/":
		return refuse("it is not in its shortest form", fmt.Sprintf("%q", filepath.Clean(path)))
	case !utf8.ValidString(path):
		return refuse("it is not UTF-8", "what a unit file can hold")
	}
	// systemd unquotes the word and then refuses the name if one of these is in
	// it ("Executable name contains special characters").
	for _, r := range path {
		if unicode.IsControl(r) || strings.ContainsRune(`"'\`, r) {
			return refuse(fmt.Sprintf("it contains %q", r),
				"neither quotes nor backslashes nor control characters, which systemd refuses in the name of an executable")
		}
	}
	plain := strings.IndexFunc(path, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("/._-+", r))
	}) < 0
	if plain {
		return path, nil
	}
	word := strings.ReplaceAll(path, "%", "%%")
	if strings.Contains(word, "$") {
		// "$$" would be taken for two characters of the name here; the prefix
		// turns substitution off for the whole line, whose other words hold none.
		word = ":" + word
	}
	return `"` + word + `"`, nil
}

// hiddenFolders are closed or empty in the service's view: the first
// three by ProtectHome=, the others by PrivateTmp=.
var hiddenFolders = []string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"}

// checkVisible refuses a binary that the system's service could not see.
// Without it the first connection would end in "status=203/EXEC".
func checkVisible(binary string) error {
	for _, folder := range hiddenFolders {
		if strings.HasPrefix(binary, folder+"/") {
			return fmt.Errorf("units: the binary is %q, which the service cannot see: its sandbox hides %s; "+
				"copy the binary to /usr/local/bin and run it from there", binary, folder)
		}
	}
	return nil
}
