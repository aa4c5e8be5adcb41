package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/methods/definition"
)

func TestWhatIsWrongWithAWorkerIsSaidWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		``:                                              `1:10: the worker "w" has no command`,
		`command = []`:                                  `2:1: the worker "w" has no command`,
		`command = ["sh"]`:                              `2:12: the program "sh": expected an absolute path`,
		`processes = 100`:                               `processes is 100, expected a number from 1 to 64`,
		`max_in_flight = -1`:                            `max_in_flight is -1, expected a number from 1 to 1024`,
		`max_message_bytes = -1`:                        `max_message_bytes is -1, expected a number above 0`,
		`protocol = "lsp"`:                              `2:1: protocol is "lsp", expected one of: json-rpc, mcp`,
		`directory = "x"`:                               `directory is "x", expected an absolute path`,
		`health_interval = "1s"`:                        `health_interval is set without health_method`,
		`initialize = {then = "x"}`:                     `initialize has no method`,
		`idle_timeout = "-1s"`:                          `found -1s, expected a duration above 0`,
		`environment = {MARIANNED_UID = "0"}`:           `nothing that begins with MARIANNED_`,
		`proceses = 2`:                                  `did you mean "processes"?`,
		"[workers.w.initialize]\nmethd = \"x\"":         `3:1: unknown key "methd" in [workers.w.initialize]; did you mean "method"?`,
		`initialize = {method = "x", params = [1]}`:     `expected a table`,
		`command = ["/bin/sh"]` + "\n[workers.other]\n": `3:10: the worker "other" has no command`,
	} {
		defs, findings := read(t, "[workers.w]\n"+text)
		for _, d := range defs.Workers {
			Read(d, &findings)
		}
		require.Error(t, findings.Err(), text)
		require.Contains(t, findings.Error(), want, text)
	}
}

func TestAWorkerThatIsNotThereIsAWarning(t *testing.T) {
	defs, findings := read(t, "[workers.w]\ncommand = [\"/no/such/program\"]\n")
	Read(defs.Workers[0], &findings)
	require.NoError(t, findings.Err())
	require.Contains(t, findings.Error(), "warning: the program: stat /no/such/program: no such file or directory; calls fail until it is there")
}

func TestWhatIsWrongWithAMethodOfAWorkerIsSaidWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		`tool = "t"`:                   `5:1: tool is set, but the worker "w" does not speak MCP`,
		`result = "json"`:              `5:1: result is set`,
		`event = "e"`:                  `5:1: event is set, but the method is no stream`,
		"tool = \"t\"\ntarget = \"x\"": `6:1: target and tool are both set`,
	} {
		protocol := protocolMCP
		if text == `tool = "t"` {
			protocol = protocolRPC
		}
		defs, findings := read(t, "[workers.w]\ncommand = [\"/bin/sh\"]\nprotocol = \""+protocol+"\"\n[methods.m]\n"+text+"\nworker = \"w\"\n")
		require.NoError(t, findings.Err())
		new(Worker).check(defs.Methods[0], Read(defs.Workers[0], &findings), &findings)
		require.Error(t, findings.Err(), text)
		require.Contains(t, findings.Error(), want, text)
	}
}

func TestAnMCPServersFirstParamsCanBeChangedOneByOne(t *testing.T) {
	defs, findings := read(t, `[workers.w]
command = ["/bin/sh"]
protocol = "mcp"
initialize.params.protocolVersion = "2024-11-05"
`)
	s := Read(defs.Workers[0], &findings)
	require.NoError(t, findings.Err())
	require.Contains(t, string(s.InitializeParams), `"protocolVersion":"2024-11-05"`)
	require.Contains(t, string(s.InitializeParams), `"clientInfo":{"name":"marianned"`)
	require.Equal(t, "notifications/initialized", s.Initialized)
	var same definition.Findings
	require.Equal(t, s.key(), Read(defs.Workers[0], &same).key())
}
