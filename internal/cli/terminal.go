package cli

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether w is a file that speaks the terminal's protocol
// (TCGETS, ioctl_tty(2)).
func isTerminal(w io.Writer) bool {
	if c, ok := w.(*checkedWriter); ok {
		w = c.w
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	raw, err := f.SyscallConn() // Fd would make the file blocking
	if err != nil {
		return false
	}
	terminal := false
	err = raw.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		terminal = err == nil
	})
	return err == nil && terminal
}

// palette colours text for one writer; the zero value leaves it as it is.
type palette struct{ on bool }

// newPalette gives colours to terminals only, and to none where NO_COLOR is set
// and not empty (no-color.org) or TERM says that it cannot show them.
func newPalette(w io.Writer, getenv func(string) string) palette {
	if getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" || getenv("TERM") == "" {
		return palette{}
	}
	return palette{on: isTerminal(w)}
}

func (p palette) bold(s string) string { return p.paint("1", s) }
func (p palette) dim(s string) string  { return p.paint("2", s) }
func (p palette) red(s string) string  { return p.paint("1;31", s) }

func (p palette) paint(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// steering reports characters that steer a terminal or turn the order of what
// follows: a peer must not be able to say anything in our name.
func steering(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

const hexDigits = "0123456789abcdef"

// visible returns s with every steering character escaped as JSON would, \u001b
// for ESC. Bytes that are no UTF-8 become U+FFFD.
func visible(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexFunc(s, steering) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if steering(r) { // all of them are below U+10000
			b.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				b.WriteByte(hexDigits[r>>shift&0xf])
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// visibleLines is visible for a text of several lines. A JSON text with no white
// space besides spaces and line feeds means the same afterwards.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n")
}
