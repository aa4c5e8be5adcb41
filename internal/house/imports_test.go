package house

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// listed is one package as `go list -json` shows it.
type listed struct {
	ImportPath   string
	Imports      []string // direct ones
	TestImports  []string // of tests in the package
	XTestImports []string // of tests beside it
}

// checkImports returns one sentence for each import that breaks a rule, and for
// each package that no row speaks of.
func checkImports(packages []listed, layers, libraries map[string][]string) []string {
	var offences []string
	for _, p := range packages {
		name, _ := inModule(p.ImportPath)
		row, found := rowOf(name, layers)
		if !found {
			offences = append(offences, fmt.Sprintf("%s: no row says what it may import; add one", display(name)))
			continue
		}
		third, library := libraries[row]
		imports := slices.Clone(p.Imports)
		if library {
			imports = append(append(imports, p.TestImports...), p.XTestImports...)
			slices.Sort(imports)
			imports = slices.Compact(imports)
		}
		for _, path := range imports {
			if imported, ours := inModule(path); ours {
				target, _ := rowOf(imported, layers)
				if target != row && !slices.Contains(layers[row], target) {
					offences = append(offences, fmt.Sprintf("%s imports %s; of this module it may import: %s",
						display(name), display(imported), list(layers[row])))
				}
				continue
			}
			if library && slices.Contains(p.Imports, path) && thirdParty(path) &&
				!slices.ContainsFunc(third, func(m string) bool { return within(path, m) }) {
				offences = append(offences, fmt.Sprintf("%s imports %s; of other modules it may import: %s",
					display(name), path, list(third)))
			}
		}
	}
	return offences
}

// rowOf returns the row that speaks of the package: its own, or the nearest one
// above it. The row of main speaks of no other package.
func rowOf(name string, layers map[string][]string) (row string, found bool) {
	for row = name; row != ""; row = row[:max(0, strings.LastIndexByte(row, '/'))] {
		if _, found := layers[row]; found {
			return row, true
		}
	}
	_, found = layers[""]
	return "", found && name == ""
}

func inModule(path string) (name string, ours bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

// thirdParty says whether path is outside the standard library, none of whose
// packages has a dot in its first element.
func thirdParty(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func display(name string) string {
	if name == "" {
		return "main"
	}
	return name
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func TestAnOffendingImportIsNamed(t *testing.T) {
	for _, test := range []struct {
		name    string
		from    string
		imports []string
		tests   []string
		want    string // "" for a package that keeps the rules
	}{
		{name: "the library stands alone", from: "rpc",
			imports: []string{"net", "github.com/sirupsen/logrus", "golang.org/x/sys/unix"}},
		{name: "the library steps back", from: "rpc", imports: []string{module + "/internal/config"},
			want: "rpc imports internal/config; of this module it may import: nothing"},
		{name: "its neighbour", from: "rpc", imports: []string{module + "/activation"},
			want: "rpc imports activation;"},
		{name: "a package below the library", from: "rpc/wire", imports: []string{module + "/methods"},
			want: "rpc/wire imports methods;"},
		{name: "the library's own sub-package", from: "rpc", imports: []string{module + "/rpc/wire"}},
		{name: "its tests step back", from: "activation", tests: []string{module + "/rpc"},
			want: "activation imports rpc;"},
		{name: "its tests may use any other module", from: "rpc", tests: []string{"github.com/stretchr/testify/require"}},
		{name: "a dependency that nobody agreed to", from: "rpc", imports: []string{"golang.org/x/system/unix"},
			want: "rpc imports golang.org/x/system/unix; of other modules it may import: github.com/sirupsen/logrus"},
		{name: "another package has no such list", from: "methods", imports: []string{"github.com/pelletier/go-toml/v2"}},
		{name: "main wires", from: "", imports: []string{"os", module + "/internal/cli"}},
		{name: "main skips a layer", from: "", imports: []string{module + "/rpc"}, want: "main imports rpc;"},
		{name: "forward over two layers", from: "internal/cli", imports: []string{module + "/rpc"}},
		{name: "one step back", from: "internal/daemon", imports: []string{module + "/internal/cli"},
			want: "internal/daemon imports internal/cli;"},
		{name: "one step back, from the methods", from: "methods/schema", imports: []string{module + "/internal/daemon"},
			want: "methods/schema imports internal/daemon;"},
		{name: "nobody imports main", from: "internal/cli", imports: []string{module}, want: "internal/cli imports main;"},
		{name: "nobody imports tests", from: "internal/cli", imports: []string{module + "/tests/harness"},
			want: "internal/cli imports tests/harness;"},
		{name: "a package that the table forgot", from: "internal/surprise",
			want: "internal/surprise: no row says what it may import"},
		{name: "a name that only begins alike is not below", from: "rpcx", want: "rpcx: no row says"},
		{name: "a module whose name only begins alike", from: "rpc", imports: []string{module + "x/y"},
			want: "rpc imports " + module + "x/y; of other modules"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := strings.TrimSuffix(module+"/"+test.from, "/")
			offences := checkImports([]listed{{ImportPath: path, Imports: test.imports, TestImports: test.tests}},
				layers, libraries)
			if test.want == "" {
				require.Empty(t, offences)
				return
			}
			require.Len(t, offences, 1)
			require.Contains(t, offences[0], test.want)
		})
	}
}

func TestTheTableItselfHasNoStepBack(t *testing.T) {
	// If no row can reach itself, a package cannot import its importer, however long the way.
	var walk func(row string, way []string)
	walk = func(row string, way []string) {
		require.NotContains(t, way, row, "a circle: %v", way)
		for _, next := range layers[row] {
			require.Contains(t, layers, next, "row %q names %q, which has no row", row, next)
			walk(next, append(way[:len(way):len(way)], row))
		}
	}
	for row := range layers {
		walk(row, nil)
	}
}
