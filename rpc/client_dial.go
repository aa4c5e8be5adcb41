package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

const (
	// dialTimeout is for a context without a deadline.
	dialTimeout = 5 * time.Second

	// While the backlog is full, connect is tried again after a pause that
	// doubles from the first to the second.
	dialPauseMin = time.Millisecond
	dialPauseMax = 50 * time.Millisecond
)

// Dial connects to the Unix socket at path. A full backlog, for which the
// kernel answers EAGAIN at once (connect(2)), is waited for until ctx ends, or
// 5 s where it has no deadline; any other failure is returned at once, and
// wraps the errno.
func Dial(ctx context.Context, path string) (*Client, error) {
	return ClientOptions{}.Dial(ctx, path)
}

// Dial is the function Dial with options.
func (o ClientOptions) Dial(ctx context.Context, path string) (*Client, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	var d net.Dialer
	var full error
	for pause := dialPauseMin; ; pause = min(2*pause, dialPauseMax) {
		nc, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return NewClient(nc, o), nil
		}
		if errors.Is(err, syscall.EAGAIN) {
			full = err
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
		}
		if full != nil && ctx.Err() != nil {
			return nil, fmt.Errorf("rpc: the backlog of %s stayed full: %w", path, errors.Join(ctx.Err(), full))
		}
		return nil, fmt.Errorf("rpc: %w", err)
	}
}
