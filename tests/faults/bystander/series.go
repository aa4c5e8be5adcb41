package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// phase is the part of the measurement that calls are counted to.
type phase struct {
	mu    sync.Mutex
	names []string
}

func (p *phase) begin(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = append(p.names, name)
}

// current is "" before the first phase: what is called then is checked, not
// reported.
func (p *phase) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names) == 0 {
		return ""
	}
	return p.names[len(p.names)-1]
}

// kind is one kind of call: the line that is sent and the beginning that its
// reply has to have; the whole line, if the beginning ends in a newline.
type kind func(id int) (request, reply []byte)

func calls(id int) (request, reply []byte) {
	n := strconv.Itoa(id)
	params := `{"n":` + n + `,"text":"is it me you are looking for?"}`
	return []byte(`{"jsonrpc":"2.0","id":` + n + `,"method":"rpc.echo","params":` + params + "}\n"),
		[]byte(`{"jsonrpc":"2.0","id":` + n + `,"result":` + params + "}\n")
}

func lines(id int) (request, reply []byte) {
	request, _ = calls(id)
	return request, request
}

func health(id int) (request, reply []byte) {
	n := strconv.Itoa(id)
	return []byte(`{"jsonrpc":"2.0","id":` + n + `,"method":"daemon.health"}` + "\n"),
		[]byte(`{"jsonrpc":"2.0","id":` + n + `,"result":{"status":"ok"`)
}

// sample is one call.
type sample struct {
	phase    string
	due      time.Time
	latency  time.Duration
	answers  int
	right    bool
	expected []byte
}

// series is the calls of one kind on one connection.
type series struct {
	name     string
	kind     kind
	interval time.Duration

	mu      sync.Mutex
	samples []sample // by id
	firstly string   // the first reply that was not right
}

func newSeries(name string, kind kind, interval time.Duration) *series {
	return &series{name: name, kind: kind, interval: interval}
}

// run calls until stop is closed, and then waits for what is due. That the
// connection ends early is no error here: its calls are without an answer.
func (s *series) run(nc net.Conn, phase *phase, stop <-chan struct{}) error {
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.read(nc)
	}()
	for due := time.Now(); s.call(nc, due, phase, stop); due = due.Add(s.interval) {
	}
	<-stop
	if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_ = nc.(*net.UnixConn).CloseWrite() // the server ends it then, or has done so
	<-read
	return nil
}

// call sends the call that is due next. It returns false when there is to be no
// other.
func (s *series) call(nc net.Conn, due time.Time, phase *phase, stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	case <-time.After(time.Until(due)):
	}
	if err := nc.SetWriteDeadline(due.Add(patience)); err != nil {
		return false
	}
	_, err := nc.Write(s.next(due, phase.current()))
	return err == nil
}

// next notes a call as sent and returns its line.
func (s *series) next(due time.Time, phase string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	request, reply := s.kind(len(s.samples))
	s.samples = append(s.samples, sample{phase: phase, due: due, expected: reply})
	return request
}

func (s *series) read(nc net.Conn) {
	r := bufio.NewReader(nc)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		s.answered(line, time.Now())
	}
}

func (s *series) answered(line []byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var reply struct{ ID *int }
	if err := json.Unmarshal(line, &reply); err != nil || reply.ID == nil || *reply.ID >= len(s.samples) {
		if s.firstly == "" {
			s.firstly = string(line)
		}
		return
	}
	sample := &s.samples[*reply.ID]
	sample.answers++
	sample.latency = now.Sub(sample.due)
	sample.right = bytes.HasPrefix(line, sample.expected)
	if !sample.right && s.firstly == "" {
		s.firstly = string(line)
	}
}

// report is what became of the calls of one phase. Lost are those that were not
// answered exactly once and right.
type report struct {
	Calls, Lost   int
	P50, P99, Max time.Duration
	First         string `json:",omitempty"` // of the replies that were not right
}

func (s *series) report(phase string) report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := report{First: s.firstly}
	var latencies []time.Duration
	for _, sample := range s.samples {
		if sample.phase != phase {
			continue
		}
		r.Calls++
		if sample.answers != 1 || !sample.right {
			r.Lost++
			continue
		}
		latencies = append(latencies, sample.latency)
	}
	if n := len(latencies); n > 0 {
		slices.Sort(latencies)
		r.P50, r.P99, r.Max = latencies[n/2], latencies[n*99/100], latencies[n-1]
	}
	return r
}
