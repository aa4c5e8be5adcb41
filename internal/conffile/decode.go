package conffile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Decode reads the text of a file into a value, as toml.Unmarshal does, and
// returns where everything in it stands. With an error among the findings the
// value is not whole.
func Decode(path string, text []byte, into any, findings *Findings) *Index {
	err := toml.NewDecoder(bytes.NewReader(text)).Decode(into)
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &wrong):
		line, column := wrong.Position()
		message := describeMismatch(strings.TrimPrefix(wrong.Error(), "toml: "))
		if key := wrong.Key(); len(key) > 0 {
			message = dotted(key) + ": " + message
		}
		findings.Add(Position{path, line, column}, "%s", message)
	case err != nil:
		findings.Add(Position{File: path}, "%s", err)
	}
	return NewIndex(path, text)
}

var mismatch = regexp.MustCompile(`^cannot decode TOML (.+?) into .*?type (.+)$`)

// describeMismatch makes what the TOML library says about a value of the wrong
// type readable for somebody who does not know our types.
func describeMismatch(message string) string {
	parts := mismatch.FindStringSubmatch(message)
	if parts == nil {
		return message
	}
	return fmt.Sprintf("found %s, expected %s", Article(parts[1]), describeType(parts[2]))
}

func describeType(name string) string {
	switch {
	case strings.HasPrefix(name, "map["):
		return "a table"
	case name == "string":
		return "a string"
	case name == "bool", name == "*bool":
		return "true or false"
	case strings.HasSuffix(name, "int"), strings.HasSuffix(name, "int64"):
		return "a whole number"
	case strings.HasSuffix(name, "Duration"):
		return `a duration in quotes, such as "10s"`
	case strings.HasPrefix(name, "[]"):
		return "an array, each item of it " + describeType(name[2:])
	}
	return "a table"
}

// Article puts "a" or "an" before a noun.
func Article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}
