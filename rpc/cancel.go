package rpc

// cancelMethod is built in: it needs the connection. The alias is that of the
// Language Server Protocol.
const (
	cancelMethod = "rpc.cancel"
	cancelAlias  = "$/cancelRequest"
)

func isCancel(method string) bool { return method == cancelMethod || method == cancelAlias }

// handleCancel serves rpc.cancel. It takes no slot and is never queued.
func (c *conn) handleCancel(rd *reader, env *envelope, b *batch) {
	params := env.params
	if len(params) > 0 && params[0] == '[' {
		named, err := nameParams(params, []string{"id"})
		if err != nil {
			c.rejectEnvelope(rd, env, b, err)
			return
		}
		params = named
	}
	var p struct {
		ID RawMessage `json:"id"`
	}
	if err := DecodeParams(params, &p); err != nil || len(p.ID) == 0 {
		c.rejectEnvelope(rd, env, b, Errorf(CodeInvalidParams, `invalid params: expected {"id": the id of the call to cancel}`))
		return
	}
	found := c.cancelCall(p.ID)
	rd.dirty = true
	if env.id == nil {
		c.skip(rd, b)
		return
	}
	result := `{"cancelled":false}`
	if found {
		result = `{"cancelled":true}`
	}
	c.put(rd, b, env.id, resultReply(env.id, []byte(result)))
}

func (c *conn) cancelCall(id []byte) bool {
	c.mu.Lock()
	var found *call
	for _, cl := range c.calls {
		if cl.id != nil && sameID(cl.id, id) {
			found = cl
		}
	}
	c.mu.Unlock()
	if found == nil {
		return false
	}
	executed := ExecutedUnknown
	if c.withdraw(found) {
		executed = ExecutedNo
	}
	refusal := c.srv.adm.cancelled(executed)
	first := c.answer(found, nil, refusal, nil)
	found.end(refusal)
	return first
}
