// Package conffile reads the TOML files that an operator writes. It finds them in
// systemd's order of folders, refuses those that somebody else could have
// changed, and knows where in a file each key stands. What a key means is
// decided by those who use it.
//
//	List: folders ─> files (precedence, masks) ─> Trust.Read ─> NewIndex ─> Index.At
//	   └───────────────────────┴────────────────> Findings: file:line:column: what
//
// The smallest use:
//
//	var findings conffile.Findings
//	for _, path := range conffile.List(folders, conffile.Trusted(), &findings) {
//		text, err := conffile.Trusted().Read(path)
//		…
//		index := conffile.NewIndex(path, text)
//		findings.Add(index.At("limits"), "found %q, expected …", value)
//	}
//	return findings.Err()
package conffile
