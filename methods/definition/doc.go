// Package definition reads the files in which an operator describes methods:
// methods.d/*.toml. It finds them, refuses those that somebody else could have
// changed, reads them strictly, and says of everything in them where it stands.
//
//	Read: folders ─> files (precedence, masks, trust) ─> TOML ─> Definitions
//	                                                       └──> Findings: file:line:column: what
//
// What a value means is decided elsewhere: the rules of who may call by
// methods/policy, the schema of the params by methods/schema, a program by
// methods/program. Each reports by [Method.At] at which place of which file it
// does not like what it found.
//
//	defs, findings := definition.Read(definition.SystemFolders, definition.Options{})
//	for _, m := range defs.Methods {
//		fmt.Println(m.Name, m.At("allow"))
//	}
package definition
