package systemd

import (
	"bufio"
	"encoding/json"
	"io"
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
	return dialAt(t, b, socketPath)
}

func dialAt(t *testing.T, b *box.Box, path string) *client {
	t.Helper()
	nc, err := net.Dial("unix", b.Path(path))
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

// ends requires that the server closes the connection without another word.
func (c *client) ends() {
	c.t.Helper()
	rest, err := io.ReadAll(c.lines)
	require.NoError(c.t, err)
	require.Empty(c.t, string(rest))
}

// call makes a call and decodes its result.
func (c *client) call(method, params string, result any) {
	c.t.Helper()
	c.send(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`)
	var reply struct {
		ID     int
		Result json.RawMessage
	}
	line := c.line()
	require.NoError(c.t, json.Unmarshal([]byte(line), &reply), line)
	require.Equal(c.t, 1, reply.ID, line)
	require.NotNil(c.t, reply.Result, line)
	require.NoError(c.t, json.Unmarshal(reply.Result, result), line)
}

// health is what daemon.health answers.
type health struct {
	Status       string
	PID          int
	ShuttingDown bool `json:"shutting_down"`
}

func (c *client) health() (h health) {
	c.t.Helper()
	c.call("daemon.health", "null", &h)
	return h
}
