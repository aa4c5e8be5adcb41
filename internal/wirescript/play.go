package wirescript

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"
)

// patience is how long a frame may take to come. Nothing passes by waiting.
const patience = 20 * time.Second

// Play plays the script over connections that dial makes. Its error names the
// file, the line, what was expected and what came.
func (s *Script) Play(dial func() (net.Conn, error)) error {
	p := &player{dial: dial, conns: make(map[string]*connection)}
	defer func() {
		for _, c := range p.conns {
			_ = c.Close()
		}
	}()
	if err := p.on(""); err != nil {
		return err
	}
	for i := 0; i < len(s.steps); i++ {
		st := s.steps[i]
		var err error
		if st.verb == "<~~" {
			var group []string
			for ; i < len(s.steps) && s.steps[i].verb == "<~~"; i++ {
				group = append(group, s.steps[i].text)
			}
			i--
			err = p.expectGroup(group)
		} else {
			err = p.step(st)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s %.200s: %w", s.Name, st.line, st.verb, st.text, err)
		}
	}
	return nil
}

type player struct {
	dial  func() (net.Conn, error)
	conns map[string]*connection
	*connection
}

type connection struct {
	net.Conn
	lines *bufio.Reader
}

func (p *player) on(name string) error {
	if c, ok := p.conns[name]; ok {
		p.connection = c
		return nil
	}
	nc, err := p.dial()
	if err != nil {
		return err
	}
	p.connection = &connection{nc, bufio.NewReaderSize(nc, 1<<20)}
	p.conns[name] = p.connection
	return nil
}

func (p *player) step(st step) error {
	switch st.verb {
	case "-->":
		return p.send(st.text + "\n")
	case "!half":
		return p.send(st.text)
	case "!drip":
		for _, b := range []byte(st.text + "\n") {
			if err := p.send(string([]byte{b})); err != nil {
				return err
			}
		}
		return nil
	case "!stall":
		d, err := time.ParseDuration(st.text)
		<-time.After(d)
		return err
	case "<--", "<==":
		frame, err := p.frame()
		if err == nil {
			err = match(st.verb, st.text, frame)
		}
		return err
	case "!silence":
		return p.silence()
	case "!eof":
		rest, err := p.frame()
		if err != io.EOF {
			return fmt.Errorf("read %.300q, %v", rest, err)
		}
		return nil
	case "!halfclose":
		hc, ok := p.Conn.(interface{ CloseWrite() error })
		if !ok {
			return fmt.Errorf("a %T can not be closed by half", p.Conn)
		}
		return hc.CloseWrite()
	case "!close":
		return p.Close()
	case "!on":
		return p.on(st.text)
	}
	panic(st.verb)
}

func (p *player) send(text string) error {
	if err := p.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(p.Conn, text)
	return err
}

func (p *player) frame() (string, error) {
	// A pipe whose other end is closed refuses a deadline; the read then says so.
	_ = p.SetReadDeadline(time.Now().Add(patience))
	line, err := p.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (p *player) silence() error {
	const id = `"is anything there?"`
	if err := p.send(`{"jsonrpc":"2.0","method":"rpc.ping","id":` + id + "}\n"); err != nil {
		return err
	}
	frame, err := p.frame()
	if err == nil {
		err = match("<--", `{"jsonrpc":"2.0","id":`+id+`,"result":"pong"}`, frame)
	}
	return err
}

func (p *player) expectGroup(group []string) error {
	for range len(group) {
		frame, err := p.frame()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(group, func(want string) bool { return match("<--", want, frame) == nil })
		if i < 0 {
			return fmt.Errorf("read %.500s, expected one of\n%s", frame, strings.Join(group, "\n"))
		}
		group = slices.Delete(group, i, i+1)
	}
	return nil
}

func match(verb, want, got string) error {
	if verb == "<==" {
		if got != want {
			return fmt.Errorf("read\n    %.500s", got)
		}
		return nil
	}
	w, err := decode(want)
	if err != nil {
		return fmt.Errorf("the expectation is no JSON: %w", err)
	}
	g, err := decode(got)
	if err != nil {
		return fmt.Errorf("read %.500q, which is no JSON: %w", got, err)
	}
	same := alike(w, g)
	if replies, ok := w.([]any); ok {
		same = sameReplies(replies, g)
	}
	if !same {
		return fmt.Errorf("read\n    %.500s", got)
	}
	return nil
}

// decode keeps numbers as they are written.
func decode(text string) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err = d.Decode(&v); err == nil && d.More() {
		err = fmt.Errorf("more than one value")
	}
	return v, err
}

// sameReplies compares two arrays of replies to a batch, which come in any order. The
// first of want that fits takes one of got: those with "…" are best written last.
func sameReplies(want []any, got any) bool {
	rest, ok := got.([]any)
	if !ok || len(rest) != len(want) {
		return false
	}
	for _, reply := range want {
		i := slices.IndexFunc(rest, func(got any) bool { return alike(reply, got) })
		if i < 0 {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return true
}

// alike compares two values; in want, "…" stands for any.
func alike(want, got any) bool {
	switch w := want.(type) {
	case string:
		return w == "…" || w == got
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for name, v := range w {
			if gv, ok := g[name]; !ok || !alike(v, gv) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !alike(w[i], g[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, got)
}
