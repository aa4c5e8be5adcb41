package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// objectMembers returns the members of a JSON object in their order, each value
// as it was written.
func objectMembers(text json.RawMessage) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	first, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if first != json.Delim('{') {
		kind := "nothing"
		if text := bytes.TrimSpace(text); len(text) > 0 {
			kind = kindOfJSON(text[0])
		}
		return nil, fmt.Errorf("found %s, expected an object", kind)
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		var m member
		m.name, _ = name.(string) // the decoder takes nothing else for a name
		if err := dec.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		members = append(members, m)
	}
	return members, nil
}
