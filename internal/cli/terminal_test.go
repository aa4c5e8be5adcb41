package cli

import (
	"bytes"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo-terminal, pts(4).
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}

func TestOnlyATerminalIsATerminal(t *testing.T) {
	_, terminal := openTerminal(t)
	require.True(t, isTerminal(terminal))
	require.True(t, isTerminal(&checkedWriter{w: terminal}))

	require.False(t, isTerminal(new(bytes.Buffer)))
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	require.False(t, isTerminal(null))
	closed, err := os.Open(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	require.False(t, isTerminal(closed))
}

func TestColoursAreForWillingTerminalsOnly(t *testing.T) {
	_, terminal := openTerminal(t)
	env := func(term, noColor string) func(string) string {
		return func(key string) string { return map[string]string{"TERM": term, "NO_COLOR": noColor}[key] }
	}
	require.Equal(t, "\x1b[1mx\x1b[0m", newPalette(terminal, env("xterm", "")).bold("x"))
	require.Equal(t, "", newPalette(terminal, env("xterm", "")).bold(""))
	require.Equal(t, "x", newPalette(terminal, env("xterm", "1")).bold("x"))
	require.Equal(t, "x", newPalette(terminal, env("dumb", "")).bold("x"))
	require.Equal(t, "x", newPalette(terminal, env("", "")).bold("x"))
	require.Equal(t, "x", newPalette(new(bytes.Buffer), env("xterm", "")).bold("x"))
}

func TestNothingThatIsShownSteersTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain, äöü, 日本 🙂":     "plain, äöü, 日本 🙂",
		"\x1b]0;title\a":       `\u001b]0;title\u0007`,
		"a\nb\tc\rd":           `a\u000ab\u0009c\u000dd`,
		"\u009b31m and \x7f":   `\u009b31m and \u007f`,
		"right\u202eto left":   `right\u202eto left`,
		"isolate\u2066 marks":  `isolate\u2066 marks`,
		"not UTF-8: \xff\xfe.": "not UTF-8: \uFFFD.",
	} {
		require.Equal(t, want, visible(in))
	}
	require.Equal(t, "a\n\\u001bb", visibleLines("a\n\x1bb"))
}
