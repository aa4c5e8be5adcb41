// Mcp is a server of the Model Context Protocol, revision 2025-06-18, over stdio,
// as its specification says, and strict about what it says of clients.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

type request struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type server struct {
	out         sync.Mutex
	mu          sync.Mutex
	calls       map[string]chan struct{} // closed by notifications/cancelled
	initialized bool
}

func (s *server) say(message map[string]any) {
	message["jsonrpc"] = "2.0"
	line, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	s.out.Lock()
	defer s.out.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func (s *server) answer(id json.RawMessage, result any) {
	s.say(map[string]any{"id": id, "result": result})
}

func (s *server) refuse(id json.RawMessage, code int, message string) {
	s.say(map[string]any{"id": id, "error": map[string]any{"code": code, "message": message}})
}

// fail ends the server: the client has broken a rule.
func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "protocol violation: "+format+"\n", args...)
	os.Exit(1)
}

func main() {
	s := &server{calls: make(map[string]chan struct{})}
	asked := false
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.Version != "2.0" {
			fail("%q: %v", lines.Text(), err)
		}
		if len(r.Params) > 0 && r.Params[0] != '{' {
			fail("params of %s are no object", r.Method)
		}
		switch {
		case r.Method == "initialize":
			if asked {
				fail("initialize twice")
			}
			asked = true
			s.initialize(r)
		case r.Method == "ping":
			s.answer(r.ID, map[string]any{})
		case !asked:
			fail("%s before initialize", r.Method)
		case r.Method == "notifications/initialized":
			if r.ID != nil || s.initialized {
				fail("a second or no notification: %s", lines.Text())
			}
			s.initialized = true
		case !s.initialized:
			fail("%s before notifications/initialized", r.Method)
		case r.Method == "notifications/cancelled":
			s.cancel(r)
		case r.Method == "tools/call":
			s.tool(r)
		case r.Method == "" || r.ID == nil: // an answer, or a notification of no interest
		default:
			s.refuse(r.ID, -32601, "Method not found")
		}
	}
}

func (s *server) initialize(r request) {
	var p struct {
		ProtocolVersion string          `json:"protocolVersion"`
		Capabilities    json.RawMessage `json:"capabilities"`
		ClientInfo      struct{ Name, Version string }
	}
	if err := json.Unmarshal(r.Params, &p); err != nil || p.ProtocolVersion == "" || p.ClientInfo.Name == "" || p.ClientInfo.Version == "" || p.Capabilities == nil {
		fail("initialize with %s: %v", r.Params, err)
	}
	s.answer(r.ID, map[string]any{
		"protocolVersion": "2025-06-18",
		"capabilities":    map[string]any{"tools": map[string]any{}, "logging": map[string]any{}},
		"serverInfo":      map[string]any{"name": "test", "version": "1"},
	})
}

func (s *server) cancel(r request) {
	var p struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	if err := json.Unmarshal(r.Params, &p); err != nil || p.RequestID == nil || r.ID != nil {
		fail("cancelled with %s: %v", r.Params, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[string(p.RequestID)]; c != nil {
		close(c)
		delete(s.calls, string(p.RequestID))
	}
}

type toolCall struct {
	Name      string
	Arguments struct{ City, Path string }
	Meta      struct {
		ProgressToken json.RawMessage `json:"progressToken"`
	} `json:"_meta"`
}

func text(text string) []any { return []any{map[string]any{"type": "text", "text": text}} }

func (s *server) tool(r request) {
	var p toolCall
	if err := json.Unmarshal(r.Params, &p); err != nil {
		s.refuse(r.ID, -32602, "Invalid params")
		return
	}
	switch p.Name {
	case "weather":
		s.answer(r.ID, map[string]any{
			"content":           text(`{"city":"` + p.Arguments.City + `"}`),
			"structuredContent": map[string]any{"city": p.Arguments.City, "temperature": 22},
		})
	case "text":
		s.answer(r.ID, map[string]any{"content": append(text("one"), text("two")...)})
	case "broken":
		s.answer(r.ID, map[string]any{"content": text("the station does not answer"), "isError": true})
	case "forecast":
		for day := range 3 {
			if p.Meta.ProgressToken != nil {
				s.say(map[string]any{"method": "notifications/progress", "params": map[string]any{"progressToken": p.Meta.ProgressToken, "progress": day + 1, "total": 3}})
			}
		}
		s.answer(r.ID, map[string]any{"content": text("sunny")})
	case "pid":
		s.answer(r.ID, map[string]any{"content": text(fmt.Sprint(os.Getpid()))})
	case "slow":
		s.slow(r)
	case "read_text_file":
		s.read(r, p.Arguments.Path)
	default:
		s.refuse(r.ID, -32602, "Unknown tool: "+p.Name)
	}
}

// read answers the text of a file below the folder that is the first argument.
func (s *server) read(r request, path string) {
	folder, err := os.OpenRoot(os.Args[1])
	if err != nil {
		fail("%v", err)
	}
	defer folder.Close()
	below, err := filepath.Rel(os.Args[1], path)
	var content []byte
	if err == nil {
		content, err = folder.ReadFile(below)
	}
	if err != nil {
		s.answer(r.ID, map[string]any{"content": text(err.Error()), "isError": true})
		return
	}
	s.answer(r.ID, map[string]any{"content": text(string(content))})
}

// slow waits to be cancelled, and then says nothing of it, as the specification
// has it.
func (s *server) slow(r request) {
	cancelled := make(chan struct{})
	s.mu.Lock()
	s.calls[string(r.ID)] = cancelled
	s.mu.Unlock()
	go func() {
		select {
		case <-cancelled:
			fmt.Fprintln(os.Stderr, "slow was cancelled")
		case <-time.After(time.Hour):
			s.answer(r.ID, map[string]any{"content": text("slow")})
		}
	}()
}
