package methods

import (
	"context"

	"github.com/marianned/marianned/rpc"
)

// CodeReloadFailed answers a daemon.reload whose files can not be used. It is of
// the range that belongs to applications.
const CodeReloadFailed = -32004

// Reloaded is what daemon.reload answers.
type Reloaded struct {
	// Files are those that were read, Methods how many they define.
	Files   []string `json:"files"`
	Methods int      `json:"methods"`
	// Warnings are what is doubtful in them, each with its file, line and column.
	Warnings []string `json:"warnings"`
}

// ReloadFailure is the data of a CodeReloadFailed.
type ReloadFailure struct {
	Reason string `json:"reason"` // "configuration"
	// Findings are what is wrong, where it can be told with file, line and column.
	Findings []string     `json:"findings"`
	Executed rpc.Executed `json:"executed"` // "no": nothing has changed
}

// ReloadFailed returns the error of a reload that has changed nothing.
func ReloadFailed(findings []string) *rpc.Error {
	return &rpc.Error{
		Code:    CodeReloadFailed,
		Message: "the files can not be used, and nothing has changed; data.findings says what is wrong",
		Data:    ReloadFailure{Reason: "configuration", Findings: findings, Executed: rpc.ExecutedNo},
	}
}

// reload needs no slot: where all are taken, more of them may be what it brings.
// Who may call it, by default root and the daemon's own user, can have many wait,
// which are answered together.
func (d *Daemon) reload() *rpc.Method {
	return &rpc.Method{
		Name:         reloadName,
		Control:      true,
		Summary:      "Reads the configuration and the files of methods anew: all of them or, where something is wrong, none",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"object","required":["files","methods","warnings"],
			"properties":{
				"files":{"type":"array","items":{"type":"string"},"description":"files that were read"},
				"methods":{"type":"integer","description":"methods that they define"},
				"warnings":{"type":"array","items":{"type":"string"},"description":"what is doubtful in them, and where"}}}`),
		Handler: rpc.Typed(func(ctx context.Context, _ rpc.NoParams) (Reloaded, error) { return d.Reload(ctx) }),
	}
}
