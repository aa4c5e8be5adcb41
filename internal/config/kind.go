package config

import (
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/marianned/marianned/internal/conffile"
)

// kind is the form that the values of some settings have.
type kind struct {
	name     string
	expected string // as a flag
	inFile   string // what a file is expected to have
	numbers  bool   // it may have a number
	strings  bool   // it may have a string
	booleans bool   // it may have true or false
	parse    func(text string) (value any, ok bool)
	format   func(value any) string // what parse reads
}

var (
	text = &kind{
		name: "string", inFile: "a string", strings: true,
		parse:  func(text string) (any, bool) { return text, true },
		format: func(value any) string { return value.(string) },
	}
	mode = &kind{
		name: "mode", expected: "permission bits in octal, such as 0660", inFile: `a string such as "0660"`, strings: true,
		parse:  parseMode,
		format: func(value any) string { return fmt.Sprintf("%04o", value.(fs.FileMode)) },
	}
	boolean = &kind{
		name: "boolean", expected: "true or false", inFile: "true or false", booleans: true,
		parse:  func(text string) (any, bool) { return text == "true", text == "true" || text == "false" },
		format: func(value any) string { return strconv.FormatBool(value.(bool)) },
	}
	count = &kind{
		name: "number", expected: "a whole number", inFile: "a whole number", numbers: true,
		parse: func(text string) (any, bool) {
			n, err := strconv.Atoi(text)
			return n, err == nil
		},
		format: func(value any) string { return strconv.Itoa(value.(int)) },
	}
	size = &kind{
		name: "size", expected: "a number of bytes, or one with KiB, MiB or GiB, such as 16MiB",
		inFile: `a number of bytes, or a string such as "16MiB"`, numbers: true, strings: true,
		parse:  parseSize,
		format: formatSize,
	}
	duration = &kind{
		name: "duration", expected: "a duration with its unit, such as 30s or 1m30s", inFile: `a string such as "30s" or "1m30s"`, numbers: true, strings: true,
		parse: func(text string) (any, bool) {
			d, err := time.ParseDuration(text)
			return d, err == nil
		},
		format: formatDuration,
	}
)

func parseMode(text string) (any, bool) {
	bits, err := strconv.ParseUint(text, 8, 32)
	return fs.FileMode(bits), err == nil && bits != 0 && fs.FileMode(bits)&^fs.ModePerm == 0
}

var (
	sizeForm = regexp.MustCompile(`^(-?[0-9]+) ?([KMG]iB)?$`)
	units    = map[string]int{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
)

func parseSize(text string) (any, bool) {
	parts := sizeForm.FindStringSubmatch(text)
	if parts == nil {
		return nil, false
	}
	n, err := strconv.Atoi(parts[1])
	unit := units[parts[2]]
	return n * unit, err == nil && n <= math.MaxInt/unit && n >= math.MinInt/unit
}

func formatSize(value any) string {
	n := value.(int)
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if n != 0 && n%units[unit] == 0 {
			return strconv.Itoa(n/units[unit]) + unit
		}
	}
	return strconv.Itoa(n)
}

// formatDuration returns "5m" where time.Duration says "5m0s".
func formatDuration(value any) string {
	text := value.(time.Duration).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if short, found := strings.CutSuffix(text, zero); found {
			text = short + zero[:1]
		}
	}
	return text
}

// quoted returns a value as a file has it.
func (k *kind) quoted(value any) string {
	text := k.format(value)
	if k.booleans {
		return text
	}
	if k.numbers {
		if _, err := strconv.Atoi(text); err == nil {
			return text
		}
	}
	return tomlString(text)
}

// tomlString writes a basic string, https://toml.io/en/v1.0.0#string.
func tomlString(text string) string {
	b := []byte{'"'}
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = fmt.Appendf(b, `\u%04X`, r)
		default:
			b = append(b, string(r)...)
		}
	}
	return string(append(b, '"'))
}

// textOf returns a value of a file as a flag would have it, or what was found
// in its place.
func (k *kind) textOf(value any) (text, problem string) {
	switch v := value.(type) {
	case string:
		if k.strings {
			return v, ""
		}
	case int64:
		if k.numbers {
			return strconv.FormatInt(v, 10), ""
		}
	case bool:
		if k.booleans {
			return strconv.FormatBool(v), ""
		}
	}
	return "", conffile.Article(describe(value)) + ", expected " + k.inFile
}

// describe names the type of what the TOML library found.
func describe(value any) string {
	switch value.(type) {
	case string:
		return "string"
	case int64:
		return "integer"
	case float64:
		return "number with a fraction"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "table"
	}
	return "date or time"
}
