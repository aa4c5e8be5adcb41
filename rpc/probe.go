package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// Probe calls a control method as a client of this process's own uid would, and
// returns an error unless it has a result before ctx ends. It says whether the
// server is alive, for a watchdog (WatchdogSec=, systemd.service(5)): the call is
// read, authorised, run and answered as any other, and the locks that every
// connection needs are free. It needs no slot, and its connection, which is inside
// the process, stands in no bound, counter or event, nor in the way of
// ShutdownIfIdle. It is answered while the server drains, but not once it is closed.
//
// It is safe for concurrent use. A handler that never returns keeps the goroutine
// of its probe.
func (s *Server) Probe(ctx context.Context, method string) error {
	s.init()
	here, there := net.Pipe()
	defer func() { _ = here.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = here.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	peer := &Peer{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: int32(os.Getpid())}
	c := newConn(s, there, &guest{peer: peer, account: newAccount(peer.UID), probe: true}, 0)
	go c.run()

	call, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method})
	if err != nil {
		return err
	}
	if _, err := here.Write(append(call, '\n')); err != nil {
		return fmt.Errorf("rpc: probe: the call is not read: %w", err)
	}
	line, err := bufio.NewReader(here).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("rpc: probe: the call is not answered: %w", err)
	}
	var reply struct{ Error *Error }
	if err := json.Unmarshal(line, &reply); err != nil {
		return fmt.Errorf("rpc: probe: %w", err)
	}
	if reply.Error != nil {
		return fmt.Errorf("rpc: probe: %w", reply.Error)
	}
	return s.locksAreFree(ctx)
}

// locksAreFree returns once the locks were free that every connection needs.
func (s *Server) locksAreFree(ctx context.Context) error {
	free := make(chan struct{})
	go func() {
		s.adm.stats()
		s.snapshot()
		close(free)
	}()
	select {
	case <-free:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("rpc: probe: the server's locks are not free: %w", ctx.Err())
	}
}
