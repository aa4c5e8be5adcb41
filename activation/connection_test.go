package activation

import (
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

type connectionReport struct {
	Outcome     outcome
	Read        string
	Variables   []string
	Inheritable []string
}

func connectionChild() error {
	conn, err := InheritConnection()
	report := connectionReport{Outcome: outcomeOf(err), Variables: managerVariables(), Inheritable: inheritable()}
	if err == nil {
		read, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		report.Read = string(read)
		if _, err := io.WriteString(conn, "answer"); err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return writeJSON(os.Stdout, report)
}

func inheritConnection(t *testing.T, env passed, files ...*os.File) connectionReport {
	t.Helper()
	env.Then = "connection"
	cmd := command(t, "become", env)
	cmd.ExtraFiles = files
	var report connectionReport
	run(t, cmd, &report)
	require.Empty(t, report.Variables)
	return report
}

func TestTheConnectionOfAServiceForOneIsInherited(t *testing.T) {
	o := openListener(t, "rpc.sock")
	far, err := o.listener.AcceptUnix()
	require.NoError(t, err)
	file, err := far.File()
	require.NoError(t, err)
	require.NoError(t, far.Close())
	_, err = io.WriteString(o.client, "question")
	require.NoError(t, err)
	require.NoError(t, o.client.(*net.UnixConn).CloseWrite())

	report := inheritConnection(t, passed{PID: text("own"), FDs: text("1"), Names: text("connection")}, file)
	require.NoError(t, file.Close())
	require.Empty(t, report.Outcome.Text)
	require.Equal(t, "question", report.Read)
	require.Empty(t, report.Inheritable)
	answer, err := io.ReadAll(o.client)
	require.NoError(t, err, "nobody has it open any more")
	require.Equal(t, "answer", string(answer))
}

func TestWhatIsNoOneConnectionIsRefused(t *testing.T) {
	listening := openListener(t, "rpc.sock").file
	own := func(count string) passed { return passed{PID: text("own"), FDs: text(count)} }
	for name, test := range map[string]struct {
		env   passed
		files []*os.File
		want  string
	}{
		"nothing":              {passed{}, nil, "no connection was passed"},
		"for another":          {passed{PID: text("1"), FDs: text("1")}, []*os.File{listening}, "no connection was passed"},
		"two":                  {own("2"), []*os.File{listening, listening}, "2 file descriptors were announced"},
		"no number":            {own("x"), nil, "LISTEN_FDS is"},
		"a listening socket":   {own("1"), []*os.File{listening}, "no stream connection"},
		"a file":               {own("1"), []*os.File{temporary(t, "")}, "no stream connection"},
		"a datagram socket":    {own("1"), []*os.File{rawSocket(t, unix.AF_UNIX, unix.SOCK_DGRAM)}, "no stream connection"},
		"one that was not":     {own("1"), nil, "expected one connection"},
		"one of another start": {passed{PID: text("own")}, []*os.File{listening}, "no connection was passed"},
	} {
		t.Run(name, func(t *testing.T) {
			report := inheritConnection(t, test.env, test.files...)
			require.Contains(t, report.Outcome.Text, test.want)
		})
	}
}
