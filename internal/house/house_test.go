package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module       = "github.com/marianned/marianned"
	root         = "../.."
	mainMaxLines = 150
)

// layers is the direction of imports: a row for each package, with all that it
// may import of this module. A row stands for the packages below its own too,
// unless they have a row; packages of one row may import each other.
var layers = map[string][]string{
	"":        {"internal/cli", "internal/version"}, // main
	"rpc":     {},
	"methods": {"rpc", "internal/conffile", "internal/suggest", "internal/version"},
	"tests":   {"rpc", "activation", "methods", "units", "internal/config", "internal/conffile", "internal/version", "internal/wirescript"},
	// Daemons with methods that no operator would want.
	"tests/faults/fixture":  {"rpc", "internal/daemon", "internal/config"},
	"tests/systemd/fixture": {"rpc", "internal/daemon", "internal/config"},
	"units":                 {},
	"tools":                 {},
	"examples":              {"rpc", "activation", "methods"},

	"activation":          {},
	"internal/version":    {},
	"internal/house":      {},
	"internal/suggest":    {},
	"internal/conffile":   {"internal/suggest"},
	"internal/wirescript": {"rpc", "internal/config"},
	"internal/config":     {"rpc", "activation", "methods", "internal/conffile", "internal/suggest"},
	"internal/daemon":     {"rpc", "activation", "methods", "internal/conffile", "internal/config", "internal/version"},
	"internal/demo":       {"rpc", "activation", "internal/version"},
	"internal/cli": {"rpc", "activation", "methods", "units",
		"internal/config", "internal/conffile", "internal/daemon", "internal/demo", "internal/suggest", "internal/version"},
}

// libraries are the packages that others import. Their tests keep the rule too,
// and each module that they bring along is named here.
var libraries = map[string][]string{
	"rpc":        {"github.com/sirupsen/logrus", "golang.org/x/sys", "github.com/go-json-experiment/json"},
	"activation": {"github.com/coreos/go-systemd/v22", "golang.org/x/sys"},
}

func TestImportsRunOneWay(t *testing.T) {
	for _, offence := range checkImports(listPackages(t), layers, libraries) {
		t.Error(offence)
	}
}

func TestMainOnlyWires(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(path string) bool { return strings.HasSuffix(path, "_test.go") })
	require.Equal(t, []string{filepath.Join(root, "main.go")}, files,
		"the root of the module holds main.go alone")
	content, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.Less(t, bytes.Count(content, []byte("\n")), mainMaxLines,
		"main.go builds the tree of commands, runs it, and turns an error into an exit code")
}

// listPackages asks the go command, so that build constraints count as they do
// in a build.
func listPackages(t *testing.T) []listed {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	command.Dir = root
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, "%s", stderr.String())
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		packages = append(packages, p)
	}
	require.NotEmpty(t, packages)
	return packages
}
