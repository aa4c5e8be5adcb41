package cli

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheReadmeNamesEveryExitCode(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var found []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| .* \|$`).FindAllStringSubmatch(string(text), -1) {
		found = append(found, row[1])
	}
	var want []string
	for _, code := range []int{exitOK, exitCallFailed, exitUsage, exitUnavailable, exitInternal, exitCannotCreate, exitBusy, exitNotPermitted, exitConfig} {
		want = append(want, fmt.Sprint(code))
	}
	require.Equal(t, want, found)
}
