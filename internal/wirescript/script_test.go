package wirescript

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marianned/marianned/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(t *testing.T) []*Script {
	scripts, err := Load("../../rpc/testdata")
	require.NoError(t, err)
	return scripts
}

func serve(t *testing.T, s *Script, l net.Listener) (stop func()) {
	methods, err := Fixture()
	require.NoError(t, err)
	srv := &rpc.Server{Methods: methods, Limits: s.Limits}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, rpc.ErrServerClosed)
	}
}

func TestEveryScriptHoldsInFakeTime(t *testing.T) {
	for _, s := range load(t) {
		if s.uses("!halfclose") {
			continue // a pipe has no halves; the socket below has
		}
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newMemory()
				stop := serve(t, s, l)
				err := s.Play(l.dial)
				stop()
				synctest.Wait()
				require.NoError(t, err)
			})
		})
	}
}

func TestEveryScriptHoldsOnASocket(t *testing.T) {
	for _, s := range load(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "wire")
			require.NoError(t, err)
			defer func() { _ = os.RemoveAll(dir) }()
			path := filepath.Join(dir, "s")
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			defer serve(t, s, l)()
			require.NoError(t, s.Play(func() (net.Conn, error) { return net.Dial("unix", path) }))
		})
	}
}

// played plays a script against the fixture.
func played(t *testing.T, text string) (err error) {
	s, err := Parse("x", []byte(text))
	if err != nil {
		return err
	}
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		stop := serve(t, s, l)
		err = s.Play(l.dial)
		stop()
	})
	return err
}

func TestAScriptFailsWhereTheServerDoesSomethingElse(t *testing.T) {
	const call = `--> {"jsonrpc":"2.0","method":"rpc.echo","params":[1,2.50,"é"],"id":1}` + "\n"
	const batch = `--> [{"jsonrpc":"2.0","method":"rpc.echo","params":[2,1],"id":1},{"jsonrpc":"2.0","method":"rpc.ping","id":2}]` + "\n"
	for text, complaint := range map[string]string{
		call + `<-- {"jsonrpc":"2.0","id":1,"result":[1,2.50,"é"]}`:                                      "",
		call + `<-- {"jsonrpc":"2.0","id":1,"result":"…"}`:                                               "",
		call + `<-- {"jsonrpc":"2.0","id":1,"result":[1,2.5,"é"]}`:                                       "x:2:",
		call + `<-- {"jsonrpc":"2.0","id":1,"result":[1,2.50]}`:                                          "x:2:",
		call + `<-- {"jsonrpc":"2.0","id":"1","result":"…"}`:                                             "x:2:",
		call + `<-- {"jsonrpc":"2.0","id":1}`:                                                            "x:2:",
		call + `<-- {"jsonrpc":"2.0","id":1,"result":"…","more":"…"}`:                                    "x:2:",
		batch + `<-- [{"jsonrpc":"2.0","id":2,"result":"pong"},{"jsonrpc":"2.0","id":1,"result":[2,1]}]`: "",
		batch + `<-- [{"jsonrpc":"2.0","id":1,"result":[2,1]},{"jsonrpc":"2.0","id":2,"result":"pong"}]`: "",
		batch + `<-- [{"jsonrpc":"2.0","id":1,"result":[1,2]},{"jsonrpc":"2.0","id":2,"result":"pong"}]`: "x:2:",
		batch + `<-- [{"jsonrpc":"2.0","id":1,"result":[2,1]}]`:                                          "x:2:",
		batch + `<-- [{"jsonrpc":"2.0","id":1,"result":[2,1]},{"jsonrpc":"2.0","id":1,"result":[2,1]}]`:  "x:2:",
		batch + `<-- {"jsonrpc":"2.0","id":1,"result":[2,1]}`:                                            "x:2:",
		call + `<-- [{"jsonrpc":"2.0","id":1,"result":"…"}]`:                                             "x:2:",
		call + `<== {"jsonrpc":"2.0","result":[1,2.50,"é"],"id":1}`:                                      "x:2:",
		call + `<-- {`:                             "the expectation is no JSON",
		call + "!silence":                          "x:2:",
		call + "!eof":                              "x:2:",
		call + "<~~ {\"a\":1}\n<~~ {\"b\":1}":      "x:2:",
		"!on a\n" + call + "!on b\n!silence":       "",
		"!close\n--> {}":                           "x:2:",
		"nonsense":                                 "x:1:",
		"limits: speed=3\n--> {}":                  "speed",
		"needs: luck\n--> {}":                      "fixture",
		"!stall long":                              "x:1:",
		"# nothing":                                "without a step",
		"--> {{repeat 1}}":                         "x:1:",
		"limits: idle-timeout=1s\n!stall 2s\n!eof": "",
	} {
		err := played(t, text)
		if complaint == "" {
			require.NoError(t, err, text)
		} else {
			require.ErrorContains(t, err, complaint, text)
		}
	}
}

func TestNothingIsTakenForSilenceThatComesLate(t *testing.T) {
	start := time.Now()
	err := played(t, `--> {"jsonrpc":"2.0","method":"slow","id":1}`+"\n"+`<-- {"jsonrpc":"2.0","id":1,"result":"released"}`)
	require.True(t, errors.Is(err, os.ErrDeadlineExceeded), "%v", err)
	require.Less(t, time.Since(start), patience, "the time was not fake")
}
