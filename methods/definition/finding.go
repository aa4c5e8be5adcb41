package definition

import "github.com/marianned/marianned/internal/conffile"

type (
	// Position is a place in a file. The zero Line means the file as a whole, the
	// zero File that no file is to blame.
	Position = conffile.Position
	// Finding is one thing about a file that its author should know.
	Finding = conffile.Finding
	// Findings are those of all files. As an error its text has one line for each.
	Findings = conffile.Findings
)
