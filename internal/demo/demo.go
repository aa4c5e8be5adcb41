package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/marianned/marianned/rpc"
)

// Options says what to demonstrate.
type Options struct {
	// Out takes the timeline.
	Out io.Writer
	// Command starts the daemon: it must end in Activate with the daemon's
	// command line, so that LISTEN_PID is right.
	Command []string
	// IdleExit is after what time without a connection Command makes the
	// daemon exit.
	IdleExit time.Duration
	// StepTimeout bounds every step, besides IdleExit. 0: 15 s.
	StepTimeout time.Duration
	// Folders are tried in their order for the temporary folder. nil:
	// $XDG_RUNTIME_DIR, the system's folder for temporary files, /tmp.
	Folders []string
}

// Run shows two activations and returns nil if everything came as expected. Any
// deviation is an error with what the daemon wrote to its stderr. When Run
// returns, also because ctx ended, no process and no file of the demo is left.
func Run(ctx context.Context, opts Options) (err error) {
	if opts.StepTimeout == 0 {
		opts.StepTimeout = 15 * time.Second
	}
	if opts.Folders == nil {
		opts.Folders = folders()
	}
	m, err := newManager(opts.Folders)
	if err != nil {
		return err
	}
	d := &demo{opts: opts, manager: m, line: newTimeline(opts.Out, time.Now)}
	defer func() {
		d.stop()
		d.clients.Wait()
		if closeErr := m.close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("remove the demo's folder: %w", closeErr))
		}
	}()
	if err = d.run(ctx); err != nil && d.daemon != nil {
		d.stop() // what it says while it ends belongs to its stderr
		if text := d.daemon.stderr.String(); text != "" && ctx.Err() == nil {
			err = fmt.Errorf("%w; the daemon's stderr:\n%s", err, text)
		}
	}
	return err
}

func folders() []string {
	var list []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		list = append(list, dir)
	}
	return append(list, os.TempDir(), "/tmp")
}

type demo struct {
	opts    Options
	manager *manager
	line    *timeline
	daemon  *process // nil before the first start
	before  int      // pid of the daemon before it, or 0
	hungUp  time.Time
	clients sync.WaitGroup
}

func (d *demo) stop() {
	if d.daemon != nil {
		d.daemon.stop()
	}
}

// run is the script of the demo.
func (d *demo) run(ctx context.Context) error {
	d.line.note("This process plays the service manager, in %s.", d.manager.dir)
	d.line.add(byManager, "listens on %s; no daemon runs", d.manager.socketPath)

	if err := d.activate(ctx, "connected; nobody has accepted the connection yet"); err != nil {
		return err
	}
	first := d.daemon.pid()
	d.line.note("Now nobody calls. The daemon exits after %s without a connection.", d.opts.IdleExit)
	if err := d.stopping(ctx, d.opts.IdleExit); err != nil {
		return err
	}
	if idle := time.Since(d.hungUp); idle < d.opts.IdleExit {
		return fmt.Errorf("the daemon stopped %s after the client had hung up, expected an idle exit after %s", idle, d.opts.IdleExit)
	}
	if err := d.exit(ctx, "the socket is still open"); err != nil {
		return err
	}

	if err := d.activate(ctx, "connected again"); err != nil {
		return err
	}
	if second := d.daemon.pid(); second == first {
		return fmt.Errorf("the second daemon has pid %d like the first, expected a new process", second)
	}
	if err := d.daemon.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the daemon: %w", err)
	}
	d.line.add(byManager, "stops the daemon with SIGTERM")
	if err := d.stopping(ctx, 0); err != nil {
		return err
	}
	if err := d.exit(ctx, "the demo is over"); err != nil {
		return err
	}
	return d.line.err
}

// exchange is what one client saw. Each channel gets one value, the second one
// only after a nil in the first.
type exchange struct {
	connected chan error
	replied   chan reply
}

type reply struct {
	result rpc.RawMessage
	hungUp time.Time // not later than the daemon can know of it
	err    error
}

// method is called by the clients of the demo. Its result has the pid.
const method = "daemon.health"

func (d *demo) call(ctx context.Context) exchange {
	x := exchange{make(chan error, 1), make(chan reply, 1)}
	d.clients.Go(func() {
		client, err := rpc.Dial(ctx, d.manager.socketPath)
		x.connected <- err
		if err != nil {
			return
		}
		result, err := client.CallRaw(ctx, method, nil)
		hungUp := time.Now()
		if closeErr := client.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("hang up: %w", closeErr)
		}
		x.replied <- reply{result, hungUp, err}
	})
	return x
}

// activate has a client connect, starts the daemon for it, and waits for
// READY=1 and the reply, in the order in which they come.
func (d *demo) activate(ctx context.Context, connected string) error {
	ctx, cancel := d.step(ctx, 0, "a reply from the daemon")
	defer cancel()
	x := d.call(ctx)
	select {
	case err := <-x.connected:
		if err != nil {
			return fmt.Errorf("connect to the socket: %w", cause(ctx, err))
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	d.line.add(byClient, "%s", connected)
	if err := d.manager.awaitClient(ctx); err != nil {
		return err
	}
	daemon, err := d.manager.start(d.opts.Command)
	if err != nil {
		return err
	}
	if d.daemon != nil {
		d.before = d.daemon.pid()
	}
	d.daemon = daemon
	d.line.add(byManager, "sees the connection wait; started the daemon with the socket as descriptor 3, pid %d", daemon.pid())

	for ready, replied := false, false; !ready || !replied; {
		select {
		case m, open := <-d.manager.messages:
			if err := d.check(m, open); err != nil {
				return err
			}
			if m.pid == d.before {
				continue
			}
			if m.has("STOPPING=1") {
				return errors.New("the daemon sent STOPPING=1, expected READY=1 and a reply first")
			}
			if m.has("READY=1") && !ready {
				ready = true
				d.report(m, "READY=1")
			}
		case r := <-x.replied:
			if r.err != nil {
				return fmt.Errorf("%s: %w", method, cause(ctx, r.err))
			}
			if err := checkReply(r.result, daemon.pid()); err != nil {
				return err
			}
			replied = true
			d.hungUp = r.hungUp
			d.line.add(byClient, "%s answered %s; hung up", method, r.result)
		case <-daemon.ended:
			return fmt.Errorf("the daemon ended (%s), expected READY=1 and a reply first", exitOf(daemon))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// checkReply compares the pid in a reply with that of the process started here.
func checkReply(result rpc.RawMessage, pid int) error {
	var health struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(result, &health); err != nil || health.PID != pid {
		return fmt.Errorf("%s answered %s, expected one with pid %d, the daemon that was started", method, result, pid)
	}
	return nil
}

// stopping waits for STOPPING=1.
func (d *demo) stopping(ctx context.Context, after time.Duration) error {
	ctx, cancel := d.step(ctx, after, "STOPPING=1 from the daemon")
	defer cancel()
	ended := d.daemon.ended
	for {
		select {
		case m, open := <-d.manager.messages:
			if err := d.check(m, open); err != nil {
				return err
			}
			if m.pid != d.before && m.has("STOPPING=1") {
				d.report(m, "STOPPING=1")
				return nil
			}
		case <-ended:
			// What it sent before its end has arrived, but may not have been
			// read yet.
			ended = nil
			ctx, cancel = context.WithTimeoutCause(ctx, time.Second,
				fmt.Errorf("the daemon ended (%s) without STOPPING=1", exitOf(d.daemon)))
			defer cancel()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// exit waits for the end of the daemon, which must be exit code 0.
func (d *demo) exit(ctx context.Context, then string) error {
	ctx, cancel := d.step(ctx, 0, "the exit of the daemon")
	defer cancel()
	select {
	case <-d.daemon.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if d.daemon.err != nil {
		return fmt.Errorf("the daemon ended (%s), expected exit code 0", exitOf(d.daemon))
	}
	d.line.add(byManager, "the daemon has exited with code 0; %s", then)
	return nil
}

// check refuses a message that is not from the daemon. The last words of the one
// before it may come late.
func (d *demo) check(m message, open bool) error {
	if !open {
		return errors.New("the socket for messages of the daemon failed")
	}
	if m.pid != d.daemon.pid() && m.pid != d.before {
		return fmt.Errorf("a message %q came from pid %d, expected it from the daemon, pid %d", m.text, m.pid, d.daemon.pid())
	}
	return nil
}

func (d *demo) report(m message, what string) {
	if status := m.status(); status != "" {
		what += ", STATUS=" + status
	}
	d.line.add(byDaemon, "%s", what)
}

// step bounds one step; the cause of its end says what was waited for. A write
// that failed shows at the next step.
func (d *demo) step(ctx context.Context, extra time.Duration, expected string) (context.Context, context.CancelFunc) {
	limit := extra + d.opts.StepTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing for %s, expected %s", limit, expected))
	if d.line.err != nil {
		ctx, fail := context.WithCancelCause(ctx)
		fail(fmt.Errorf("write the timeline: %w", d.line.err))
		return ctx, cancel
	}
	return ctx, cancel
}

// cause prefers the reason why ctx ended to what a function made of it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func exitOf(p *process) string {
	if p.err != nil {
		return p.err.Error()
	}
	return "exit status 0"
}
