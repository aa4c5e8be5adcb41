// Package readme runs what README.md tells its reader to run.
package readme

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/conffile"
	"github.com/marianned/marianned/internal/config"
)

const (
	root = "../.."
	// These are in the text; the tests use others.
	socketName    = "/tmp/try/rpc.sock"
	methodsFolder = "/etc/marianned/methods.d"
)

// TestMain makes this program a stand-in for socat, where it is called by that
// name and the real one is not installed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "socat" {
		if err := socat(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "socat:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// socat does what `socat - UNIX-CONNECT:path` does.
func socat(arguments []string) error {
	if len(arguments) != 2 || arguments[0] != "-" {
		return fmt.Errorf("found %q, expected - UNIX-CONNECT:path", arguments)
	}
	conn, err := net.Dial("unix", strings.TrimPrefix(arguments[1], "UNIX-CONNECT:"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.Copy(conn, os.Stdin); err != nil {
		return err
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return err
	}
	// After the end of its input it waits half a second for what is left.
	if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return err
	}
	if _, err := io.Copy(os.Stdout, conn); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	return string(text)
}

// serve builds the program and runs it with a socket of its own. It returns the
// folder with the program, and the socket's path.
func serve(t *testing.T) (folder, socket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "readme") // short: a socket's path has 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	binary := filepath.Join(folder, "marianned")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "github.com/marianned/marianned").CombinedOutput()
	require.NoError(t, err, "%s", out)

	socket = filepath.Join(folder, "rpc.sock")
	methods := filepath.Join(folder, filepath.Base(methodsFolder))
	require.NoError(t, os.Mkdir(methods, 0o755))
	daemon := exec.Command(binary, "serve", "--config", os.DevNull, "--socket", socket, "--methods", methods)
	daemon.Stderr = new(strings.Builder)
	require.NoError(t, daemon.Start())
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		require.NoError(t, daemon.Wait(), "%s", daemon.Stderr)
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 10*time.Second, 5*time.Millisecond, "nobody listens on %s", socket)
	return folder, socket
}

// example is a command of the text and the output below it.
type example struct{ command, output string }

// examples returns those of all console blocks.
func examples(text string) []example {
	var list []example
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			if command, found := strings.CutPrefix(line, "$ "); found {
				list = append(list, example{command: strings.TrimSpace(command)})
				continue
			}
			list[len(list)-1].output += line
		}
	}
	return list
}

func TestEveryCommandOfTheReadmeGivesTheOutputBelowIt(t *testing.T) {
	list := examples(readme(t))
	require.Greater(t, len(list), 10)
	folder, socket := serve(t)
	// The daemon is running when the operator writes the file.
	for name, text := range methodFiles(t) {
		if uid := os.Geteuid(); uid != 0 { // who need not be in the group of the README
			require.Contains(t, text, `"user:root"`)
			text = strings.ReplaceAll(text, `"user:root"`, fmt.Sprintf(`"user:root", "uid:%d"`, uid))
		}
		require.NoError(t, os.WriteFile(filepath.Join(folder, filepath.Base(methodsFolder), name), []byte(text), 0o644))
	}
	elsewhere := strings.NewReplacer(socketName, socket, methodsFolder, filepath.Join(folder, filepath.Base(methodsFolder)))
	if _, err := exec.LookPath("socat"); err != nil {
		require.NoError(t, os.Symlink(executable(t), filepath.Join(folder, "socat")))
	}
	for _, e := range list {
		if strings.HasPrefix(e.command, "export ") {
			require.Contains(t, e.command, "MARIANNED_SOCKET="+socketName)
			continue
		}
		command := exec.Command("sh", "-c", elsewhere.Replace(e.command))
		command.Env = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"), "MARIANNED_SOCKET="+socket, "NO_COLOR=1")
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s", e.command, out)
		require.Equal(t, e.output, string(out), e.command)
	}
}

// methodFiles are those of the text.
func methodFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```toml\n(# "+methodsFolder+"/([^\n]+)\n.*?)^```$").FindAllStringSubmatch(readme(t), -1) {
		files[block[2]] = block[1]
	}
	require.NotEmpty(t, files)
	return files
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func TestTheTableOfBoundsIsThatOfTheCode(t *testing.T) {
	found := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| ([^|]+) \\| [^|]+ \\|$").FindAllStringSubmatch(readme(t), -1) {
		found[row[1]] = row[2]
	}
	want := map[string]string{}
	for _, s := range config.LimitSettings {
		want[s.Flag()] = strings.Replace(s.Default(), "MiB", " MiB", 1)
		if d, err := time.ParseDuration(s.Default()); err == nil {
			want[s.Flag()] = fmt.Sprintf("%g s", d.Seconds())
		}
	}
	require.Equal(t, want, found)
}

func TestTheConfigurationOfTheReadmeIsOne(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```toml\n# /etc/marianned/conf.d/([^\n]+)\n.*?^```$").FindAllStringSubmatch(readme(t), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		path := filepath.Join(t.TempDir(), block[1])
		require.NoError(t, os.WriteFile(path, []byte(strings.Trim(block[0], "`")[len("toml"):]), 0o644))
		require.NoError(t, config.CheckFiles([]string{path}, conffile.Trust{}))
	}
}

func TestTheMakeTargetsOfTheReadmeExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	targets := regexp.MustCompile("(?m)^`?make ([a-z]+)").FindAllStringSubmatch(readme(t), -1)
	require.NotEmpty(t, targets)
	for _, target := range targets {
		require.Regexp(t, `(?m)^`+target[1]+`:`, string(makefile))
	}
}

func TestTheFilesThatTheReadmeNamesExist(t *testing.T) {
	for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(readme(t), -1) {
		_, err := os.Stat(filepath.Join(root, link[1]))
		require.NoError(t, err)
	}
}
