package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/marianned/marianned/activation"
)

const (
	maxCount        = 1 << 30 // of package rpc
	minMessageBytes = 1 << 10 // of package rpc
)

func checkCount(value any) string {
	switch n := value.(int); {
	case n < 1:
		return "expected at least 1: nothing is unbounded"
	case n > maxCount:
		return fmt.Sprintf("expected at most %d", maxCount)
	}
	return ""
}

func checkMessageBytes(value any) string {
	if value.(int) < minMessageBytes {
		return fmt.Sprintf("expected at least %d: smaller messages could not carry an error reply", minMessageBytes)
	}
	return checkCount(value)
}

func checkTimeout(value any) string {
	if value.(time.Duration) <= 0 {
		return "expected a duration above 0, such as 30s: nothing is unbounded"
	}
	return ""
}

func checkIdleExit(value any) string {
	if d := value.(time.Duration); d != 0 && d < MinIdleExit {
		return fmt.Sprintf("expected at least %s, or 0 for never: the service manager gives up a socket that starts its service too often", MinIdleExit)
	}
	return ""
}

func checkDrainTimeout(value any) string {
	if value.(time.Duration) < 0 {
		return "expected 0 or more"
	}
	return ""
}

func checkLogLevel(value any) string {
	if !slices.Contains(LogLevels, value.(string)) {
		return "expected one of: " + strings.Join(LogLevels, ", ")
	}
	return ""
}

func checkSocket(value any) string {
	if err := activation.CheckPath(value.(string)); err != nil {
		return err.Error()
	}
	return ""
}
