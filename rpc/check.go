package rpc

import (
	"errors"
	"runtime/debug"

	"github.com/sirupsen/logrus"
)

// check says what of a call can be refused without asking how busy the server
// is.
func (c *conn) check(cl *call) *Error {
	if c.srv.Authorize != nil {
		if refusal := c.authorize(cl); refusal != nil {
			return refusal
		}
	}
	m := cl.method
	if len(cl.req.Params) > 0 && cl.req.Params[0] == '[' && !m.TakesArray {
		if err := cl.nameParams(); err != nil {
			return err
		}
	}
	cl.timeout = m.Timeout
	if cl.timeout == 0 && m.Stream == nil {
		cl.timeout = c.limits().RequestTimeout
	}
	cl.setDeadline()
	if m.Stream != nil {
		return c.checkStream(cl)
	}
	return nil
}

// authorize refuses a call that the peer may not make. A panic is answered like that
// of a handler, which was not reached.
func (c *conn) authorize(cl *call) (refusal *Error) {
	defer func() {
		if v := recover(); v != nil {
			refusal = cl.wireError(&errPanic{v, debug.Stack()})
			refusal.Data.(*ErrorData).Executed = ExecutedNo
		}
	}()
	if err := c.srv.Authorize(c.peer, cl.method); err != nil {
		return c.denied(cl, err)
	}
	return nil
}

// nameParams makes an object of an array of params.
func (c *call) nameParams() *Error {
	if len(c.method.ParamNames) == 0 {
		return Errorf(CodeInvalidParams, "invalid params: method %q takes no array of params; send an object", c.method.Name)
	}
	named, err := nameParams(c.req.Params, c.method.ParamNames)
	if err == nil {
		c.req.Params = named
	}
	return err
}

func (c *conn) checkStream(cl *call) *Error {
	if cl.batch != nil {
		return Errorf(CodeInvalidRequest, "invalid request: the streaming method %q can not be called in a batch", cl.method.Name)
	}
	if cl.id == nil {
		return Errorf(CodeInvalidRequest, "invalid request: the streaming method %q needs an id", cl.method.Name)
	}
	c.mu.Lock()
	open := c.streams
	c.mu.Unlock()
	if refusal := c.srv.adm.openStream(open); refusal != nil {
		return refusal
	}
	n := cl.method.StreamQueueLength
	if n == 0 {
		n = defaultStreamQueueLength
	}
	cl.stream = &Stream{call: cl, max: n}
	return nil
}

func (c *conn) notFound(method string) *Error {
	c.srv.adm.refused(ReasonMethodNotFound)
	return errMethodNotFound(method)
}

// denied turns the answer of Authorize into a refusal.
func (c *conn) denied(cl *call, err error) *Error {
	if errors.Is(err, ErrHidden) {
		return c.notFound(cl.req.Method)
	}
	c.srv.adm.refused(ReasonNotAuthorized)
	var wire *Error
	if errors.As(err, &wire) {
		return wire
	}
	c.complain(logrus.InfoLevel, logrus.Fields{"method": cl.method.Name, "error": err}, "call not authorised")
	return Errorf(CodeNotAuthorized, "not authorised to call %q", cl.method.Name)
}
