package systemd

import (
	"bufio"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// client is a client outside of the box that sees the wire.
type client struct {
	t *testing.T
	*net.UnixConn
	lines *bufio.Reader
}

func dial(t *testing.T, b *box.Box) *client {
	t.Helper()
	nc, err := net.Dial("unix", b.Path(socketPath))
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(box.Patience)))
	return &client{t, nc.(*net.UnixConn), bufio.NewReader(nc)}
}

func (c *client) send(line string) {
	c.t.Helper()
	_, err := c.Write([]byte(line + "\n"))
	require.NoError(c.t, err)
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(c.t, err, "read %.200q", line)
	return strings.TrimSuffix(line, "\n")
}

// health is what daemon.health answers.
type health struct {
	Status       string
	PID          int
	ShuttingDown bool `json:"shutting_down"`
}

func (c *client) health() health {
	c.t.Helper()
	c.send(`{"jsonrpc":"2.0","id":1,"method":"daemon.health"}`)
	var reply struct {
		ID     int
		Result *health
	}
	line := c.line()
	require.NoError(c.t, json.Unmarshal([]byte(line), &reply), line)
	require.Equal(c.t, 1, reply.ID, line)
	require.NotNil(c.t, reply.Result, line)
	return *reply.Result
}
