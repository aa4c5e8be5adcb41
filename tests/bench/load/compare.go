package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// checkJSON reads line as a JSON-RPC reply, whatever the order of its members
// and the spelling of its strings, and returns the slot whose right reply it is.
// It is slow: it sees each form of each reply once.
func (s *script) checkJSON(line []byte) (slot int, err error) {
	var reply struct {
		ID     json.Number
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return 0, fmt.Errorf("found %s, expected a reply: %w", excerpt(line), err)
	}
	if reply.Error != nil && !bytes.Equal(reply.Error, []byte("null")) {
		return 0, fmt.Errorf("found the error %s, expected a result", excerpt(reply.Error))
	}
	id, err := reply.ID.Int64()
	if err != nil {
		return 0, fmt.Errorf("found %s, expected an id that was sent", excerpt(line))
	}
	slot, ok := s.w.Slot(int(id))
	if !ok {
		return 0, fmt.Errorf("found a reply with id %d, expected an id that was sent", id)
	}
	return slot, s.checkResult(slot, reply.Result)
}

// checkResult compares a result with the params of a slot by value.
func (s *script) checkResult(slot int, result []byte) error {
	want := s.w.Params(slot)
	if bytes.Equal(result, want) {
		return nil
	}
	var gotValue, wantValue any
	if err := json.Unmarshal(want, &wantValue); err != nil {
		return err
	}
	if err := json.Unmarshal(result, &gotValue); err != nil || !reflect.DeepEqual(gotValue, wantValue) {
		return fmt.Errorf("found the result %s for id %d, expected %s", excerpt(result), s.w.ID(slot), excerpt(want))
	}
	return nil
}
