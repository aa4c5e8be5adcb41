// Plain is a worker as anybody would write one: it reads calls line by line, and
// does what their methods say. Each call is served by a goroutine of its own.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Text  string `json:"text"`
		Count int    `json:"count"`
		File  string `json:"file"`
		ID    uint64 `json:"id"`
	} `json:"params"`
	raw json.RawMessage
}

var out sync.Mutex

func say(format string, args ...any) {
	out.Lock()
	defer out.Unlock()
	fmt.Printf(format+"\n", args...)
}

var (
	cancels   = make(map[string]chan struct{})
	cancelsMu sync.Mutex
)

func cancelled(id string) chan struct{} {
	cancelsMu.Lock()
	defer cancelsMu.Unlock()
	if cancels[id] == nil {
		cancels[id] = make(chan struct{})
	}
	return cancels[id]
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "deaf-to-sigterm" {
		signal.Ignore(syscall.SIGTERM)
	}
	fmt.Fprintln(os.Stderr, "plain worker here")
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if len(os.Args) > 1 { // one that does not heed the end of its stdin
				hang()
			}
			return
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			fmt.Fprintln(os.Stderr, "no JSON:", err)
			os.Exit(3)
		}
		if r.Method == "sleep-all" { // a worker that does one thing after the other, and hangs in it
			hang()
		}
		go serve(r)
	}
}

// hang is no select {}, which the runtime would call a deadlock.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

func serve(r request) {
	switch r.Method {
	case "echo":
		text, _ := json.Marshal(r.Params.Text)
		say(`{"jsonrpc":"2.0","id":%s,"result":%s}`, r.ID, text)
	case "pid":
		say(`{"jsonrpc":"2.0","id":%s,"result":%d}`, r.ID, os.Getpid())
	case "environment":
		text, _ := json.Marshal(strings.Join(os.Environ(), "\n"))
		say(`{"jsonrpc":"2.0","id":%s,"result":%s}`, r.ID, text)
	case "count":
		for i := range r.Params.Count {
			say(`{"jsonrpc":"2.0","method":"counted","params":{"subscription":%s,"n":%d,"lost":7}}`, r.ID, i)
		}
		say(`{"jsonrpc":"2.0","id":%s,"result":"counted"}`, r.ID)
	case "mark": // leaves a mark that it ran, then answers
		f, err := os.OpenFile(r.Params.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintln(f, r.Params.Text)
		}
		if err != nil {
			os.Exit(4)
		}
		f.Close()
		say(`{"jsonrpc":"2.0","id":%s,"result":"marked"}`, r.ID)
	case "refuse":
		say(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"no","data":{"why":"it is closed"}}}`, r.ID, r.Params.Count)
	case "crash":
		os.Exit(5)
	case "crash-after-answer":
		say(`{"jsonrpc":"2.0","id":%s,"result":"bye"}`, r.ID)
		os.Exit(0)
	case "wait": // until it is cancelled
		<-cancelled(string(r.ID))
		say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32011,"message":"cancelled"}}`, r.ID)
	case "rpc.cancel":
		close(cancelled(fmt.Sprint(r.Params.ID)))
		if r.Params.File != "" {
			return
		}
	case "garbage":
		say("Listening on stdio!")
		say("{broken")
		say("")
		say(`{"jsonrpc":"2.0","id":%s,"result":"after the garbage"}`, r.ID)
	case "broken-reply":
		say(`{"jsonrpc":"2.0","id":%s,"result":NaN}`, r.ID)
	case "empty-reply":
		say(`{"jsonrpc":"2.0","id":%s}`, r.ID)
	case "large":
		say(`{"jsonrpc":"2.0","id":%s,"result":%q}`, r.ID, strings.Repeat("x", r.Params.Count))
	case "large-backwards":
		say(`{"jsonrpc":"2.0","result":%q,"id":%s}`, strings.Repeat("x", r.Params.Count), r.ID)
	case "ask": // asks us something before it answers
		say(`{"jsonrpc":"2.0","id":"mine","method":"roots/list"}`)
		say(`{"jsonrpc":"2.0","id":%s,"result":"asked"}`, r.ID)
	case "flood":
		for i := range r.Params.Count {
			fmt.Fprintf(os.Stderr, "line %d\n", i)
		}
		say(`{"jsonrpc":"2.0","id":%s,"result":"flooded"}`, r.ID)
	case "child": // starts a process that outlives it, unless its group is ended
		c := exec.Command("/bin/sleep", "1000")
		if err := c.Start(); err != nil {
			os.Exit(6)
		}
		say(`{"jsonrpc":"2.0","id":%s,"result":%d}`, r.ID, c.Process.Pid)
	case "close-stdout":
		os.Stdout.Close()
		hang()
	case "batch":
		say(`[{"jsonrpc":"2.0","method":"note"},{"jsonrpc":"2.0","id":%s,"result":"in an array"}]`, r.ID)
	default:
		if r.ID != nil {
			say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"method not found"}}`, r.ID)
		}
	}
}
