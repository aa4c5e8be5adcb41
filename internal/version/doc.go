// Package version knows which build of the program is running.
//
//	make build     -ldflags -X ...version.Version=1.2.3 ──┐
//	go install     debug.ReadBuildInfo                  ──┴─> Get() ─> "marianned 1.2.3 (...)"
//
// What the linker set wins, field by field; what neither knows stays empty,
// except the version, which is then "devel".
//
//	fmt.Println("marianned", version.Get())
package version
