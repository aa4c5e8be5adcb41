package daemon

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/sirupsen/logrus"
)

// NewLogger returns a logger that writes lines of key=value pairs to w. Where w
// is the journal (see IsJournal), the lines carry their priority, as
// sd-daemon(3) has it, instead of a time and a level.
func NewLogger(w io.Writer, level logrus.Level) *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(w)
	logger.SetLevel(level)
	plain := &logrus.TextFormatter{DisableColors: true, FullTimestamp: true}
	logger.SetFormatter(plain)
	if IsJournal(w) {
		plain.DisableTimestamp = true
		logger.SetFormatter(journalFormatter{plain})
	}
	return logger
}

// IsJournal reports whether w is the file that the service manager connected to
// the journal: $JOURNAL_STREAM has its device and inode, systemd.exec(5).
func IsJournal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// journalFormatter puts "<6>" in front of a line, in the place of "level=info ".
type journalFormatter struct{ *logrus.TextFormatter }

func (f journalFormatter) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.TextFormatter.Format(e)
	if err != nil {
		return nil, err
	}
	_, rest, _ := bytes.Cut(line, []byte(" "))
	return append(fmt.Appendf(nil, "<%d>", Priority(e.Level)), rest...), nil
}

// Priority returns the priority of syslog(3) for a level.
func Priority(level logrus.Level) int {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return 2
	case logrus.ErrorLevel:
		return 3
	case logrus.WarnLevel:
		return 4
	case logrus.InfoLevel:
		return 6
	}
	return 7
}
