// Package operator makes methods of what an operator has written down in
// methods.d: it puts definition, policy, schema and what runs a method together.
//
//	Load: folders ─> definitions ─> Set ─┬─ Register: into rpc.Methods
//	                                     └─ Authorize: who may call
//	a call: Authorize ─> params fit? defaults ─> Backend ─> result fits? ─> reply
//
// A Set never changes. To reload is to load another one:
//
//	set, err := operator.Load(operator.Options{Folders: definition.SystemFolders})
//	if err != nil {
//		return err // each finding with its file, line and column; nothing has changed
//	}
//	registry := new(rpc.Methods)
//	… methods.Register(registry, …); set.Register(registry) …
//	server.SetMethods(registry)
//	old.Close() // its calls run to their end
package operator
