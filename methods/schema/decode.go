package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxExponent bounds the numbers that are compared: 1e1000000 is nine bytes on
// the wire, and 400 KiB as a number that can be compared exactly.
const maxExponent = 400

// maxDigits is the same for numbers that are written out.
const maxDigits = 1000

// decode reads JSON text into string, json.Number, bool, nil, []any and
// map[string]any. What programs may read in different ways is refused: a member
// that is there twice, text that is no Unicode.
func decode(text []byte) (any, error) {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	value, err := decodeValue(d)
	if err != nil {
		return nil, &syntaxError{string(d.StackPointer()), plain(err)}
	}
	return value, nil
}

// syntaxError is what can be said against a JSON text without a schema.
type syntaxError struct {
	path    string
	message string
}

func (e *syntaxError) Error() string { return e.path + ": " + e.message }

func plain(err error) string {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return "a name is there twice"
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return strings.TrimPrefix(syntactic.Err.Error(), "jsontext: ")
	}
	return err.Error()
}

func decodeValue(d *jsontext.Decoder) (any, error) {
	switch d.PeekKind() {
	case '{':
		return decodeObject(d)
	case '[':
		return decodeArray(d)
	case '0':
		raw, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		return json.Number(raw), checkNumber(string(raw))
	}
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '"':
		return token.String(), nil
	case 't', 'f':
		return token.Bool(), nil
	}
	return nil, nil
}

func decodeObject(d *jsontext.Decoder) (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	object := make(map[string]any)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token is gone with the next one
		if object[key], err = decodeValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func decodeArray(d *jsontext.Decoder) (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	array := []any{}
	for d.PeekKind() != ']' {
		item, err := decodeValue(d)
		if err != nil {
			return nil, err
		}
		array = append(array, item)
	}
	_, err := d.ReadToken()
	return array, err
}

func checkNumber(number string) error {
	digits, exponent, found := strings.Cut(strings.ToLower(number), "e")
	if len(digits) > maxDigits {
		return fmt.Errorf("a number of more than %d digits", maxDigits)
	}
	if !found {
		return nil
	}
	if n, err := strconv.Atoi(exponent); err != nil || n > maxExponent || n < -maxExponent {
		return fmt.Errorf("a number with an exponent beyond %d", maxExponent)
	}
	return nil
}
