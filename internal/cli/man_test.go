package cli

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/rpc"
)

// manPage is a man page, section by section.
type manPage map[string]manSection

// manSection is what stands below one heading of any level.
type manSection struct {
	text  string
	items []manItem
}

// manItem is one of a list of definitions.
type manItem struct {
	term string // "--socket", without its argument
	text string
}

var (
	heading   = regexp.MustCompile(`^#+ (.*)$`)
	term      = regexp.MustCompile(`^\*\*([^*]+)\*\*`)
	entry     = regexp.MustCompile(`^: `)
	byDefault = regexp.MustCompile(`Default:\s\*\*([^*]+)\*\*`)
)

func readMan(t *testing.T, name string) manPage {
	t.Helper()
	content, err := os.ReadFile("../../packaging/man/" + name + ".md")
	require.NoError(t, err)
	page := manPage{}
	section := ""
	lines := strings.Split(string(content), "\n")
	for i, line := range lines {
		if match := heading.FindStringSubmatch(line); match != nil {
			section = match[1]
			require.NotContains(t, page, section)
			page[section] = manSection{}
			continue
		}
		s := page[section]
		switch {
		case i+1 < len(lines) && entry.MatchString(lines[i+1]):
			s.items = append(s.items, manItem{term: term.FindStringSubmatch(line)[1]})
		case len(s.items) > 0 && line != "":
			s.items[len(s.items)-1].text += " " + line
		}
		s.text += line + "\n"
		page[section] = s
	}
	return page
}

// terms are those of some sections, in their order.
func (p manPage) terms(t *testing.T, sections ...string) (terms []string) {
	t.Helper()
	for _, section := range sections {
		require.Contains(t, p, section)
		for _, item := range p[section].items {
			terms = append(terms, item.term)
		}
	}
	return terms
}

// requireFlags compares a list of options with the flags of a command.
func requireFlags(t *testing.T, cmd *cobra.Command, items []manItem) {
	t.Helper()
	described := map[string]manItem{}
	for _, item := range items {
		if name, found := strings.CutPrefix(item.term, "--"); found {
			require.NotContains(t, described, name)
			described[name] = item
		}
	}
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		item, found := described[flag.Name]
		delete(described, flag.Name)
		if flag.Name == "help" || flag.Hidden {
			return
		}
		if !found {
			t.Errorf("%s: the page has no --%s", cmd.CommandPath(), flag.Name)
			return
		}
		if want, shown := manDefault(flag), byDefault.FindStringSubmatch(item.text); want == "" {
			require.Nil(t, shown, "--%s has no default", flag.Name)
		} else {
			require.NotNil(t, shown, "the page names no default of --%s", flag.Name)
			require.Equal(t, normalDuration(want), normalDuration(shown[1]), "--%s", flag.Name)
		}
	})
	for name := range described {
		t.Errorf("%s has no --%s", cmd.CommandPath(), name)
	}
}

// manDefault is "" where the page names none.
func manDefault(flag *pflag.Flag) string {
	if flag.Value.Type() == "bool" || flag.DefValue == "[]" || flag.DefValue == "0" {
		return ""
	}
	return flag.DefValue
}

func normalDuration(text string) string {
	if d, err := time.ParseDuration(text); err == nil {
		return d.String()
	}
	return text
}

func command(t *testing.T, path ...string) *cobra.Command {
	t.Helper()
	cmd, rest, err := newRoot(nil).Find(path)
	require.NoError(t, err)
	require.Empty(t, rest)
	return cmd
}

func TestTheManPageOfTheDaemonHasItsOptionsAndDefaults(t *testing.T) {
	page := readMan(t, "marianned.8")
	requireFlags(t, command(t, "serve"), append(page["OPTIONS"].items, page["Bounds"].items...))
}

func TestTheManPageOfTheConfigurationHasItsSettings(t *testing.T) {
	page := readMan(t, "marianned.toml.5")
	var found []string
	for _, section := range []string{"Socket", "Life", "Bounds"} {
		for _, item := range page[section].items {
			found = append(found, item.term)
			at := slices.IndexFunc(config.Settings, func(s *config.Setting) bool { return s.Name == item.term })
			require.GreaterOrEqual(t, at, 0, item.term)
			s := config.Settings[at]
			text := strings.Join(strings.Fields(item.text), " ")
			require.Contains(t, text, "Flag **--"+s.Flag()+"**, variable **"+s.Variable()+"**.")
			require.Equal(t, section != "Socket", s.Reload, "the section says when it takes effect: %s", item.term)
			shown := byDefault.FindStringSubmatch(text)
			if s.Default() == "" {
				require.Nil(t, shown, item.term)
				continue
			}
			require.NotNil(t, shown, "the page names no default of %s", item.term)
			require.Equal(t, s.Default(), shown[1], item.term)
		}
	}
	var want []string
	for _, s := range config.Settings {
		want = append(want, s.Name)
	}
	require.Equal(t, want, found)
	require.Contains(t, page["Socket"].text, "They take effect at\nthe next start, all other settings at a reload too.")
}

func TestTheManPageOfTheCommandsHasEachOfThem(t *testing.T) {
	page := readMan(t, "marianned.1")
	described := map[string]bool{}
	for title := range page {
		if unicode.IsLower(rune((title + " ")[0])) { // "call METHOD", not "EXAMPLES"
			described[title] = true
		}
	}
	root := newRoot(nil)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var visit func(cmd *cobra.Command, above string)
	visit = func(cmd *cobra.Command, above string) {
		name := strings.TrimSpace(above + " " + cmd.Name())
		if cmd.HasAvailableSubCommands() && cmd.Name() != "completion" {
			for _, child := range cmd.Commands() {
				if child.IsAvailableCommand() {
					visit(child, name)
				}
			}
			return
		}
		var title string
		for candidate := range described {
			if candidate == name || strings.HasPrefix(candidate, name+" ") {
				title = candidate
			}
		}
		if title == "" {
			t.Errorf("the page has no command %q", name)
			return
		}
		delete(described, title)
		if name == "serve" {
			return // it has a page of its own
		}
		items := slices.Clone(page[title].items)
		if strings.Contains(page[title].text, "Takes the client options") {
			items = append(items, page["CLIENT OPTIONS"].items...)
		}
		requireFlags(t, cmd, items)
	}
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() || cmd.Name() == "help" {
			visit(cmd, "")
		}
	}
	require.Empty(t, described, "there are no such commands")
}

func TestTheManPagesHaveTheExitCodes(t *testing.T) {
	for name, codes := range map[string][]int{
		"marianned.1": {exitOK, exitCallFailed, exitUsage, exitUnavailable, exitInternal, exitCannotCreate, exitNotPermitted, exitConfig},
		"marianned.8": {exitOK, exitUsage, exitInternal, exitCannotCreate, exitBusy, exitNotPermitted, exitConfig},
	} {
		var want []string
		for _, code := range codes {
			want = append(want, fmt.Sprint(code))
		}
		require.Equal(t, want, readMan(t, name).terms(t, "EXIT STATUS"), name)
	}
}

func noMetrics() (string, error) { return "", nil }

func noReload(context.Context) (methods.Reloaded, error) { return methods.Reloaded{}, nil }

func TestTheManPageOfTheProtocolHasTheMethods(t *testing.T) {
	registry := new(rpc.Methods)
	require.NoError(t, methods.Register(registry, methods.Daemon{Stop: func(bool) {}, Reload: noReload, Metrics: noMetrics}))
	want := []string{"rpc.cancel"} // the server's own
	for _, method := range registry.List() {
		want = append(want, method.Name)
	}
	require.ElementsMatch(t, want, readMan(t, "marianned-protocol.7").terms(t, "METHODS"))
}

func TestTheManPageOfTheProtocolHasTheErrors(t *testing.T) {
	page := readMan(t, "marianned-protocol.7")
	codes, reasons := rpcConstants(t)
	require.ElementsMatch(t, codes, page.terms(t, "ERRORS"))
	require.ElementsMatch(t, reasons, page.terms(t, "Reasons"))
	var members []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[rpc.ErrorData]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		members = append(members, name)
	}
	require.Equal(t, members, page.terms(t, "Members of data"))
}

// rpcConstants reads what a client can be sent: all codes, and all reasons.
func rpcConstants(t *testing.T) (codes, reasons []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../rpc/errors.go", nil, 0)
	require.NoError(t, err)
	reasons = []string{"internal"} // of CodeInternalError
	ast.Inspect(file, func(node ast.Node) bool {
		spec, is := node.(*ast.ValueSpec)
		if !is || len(spec.Values) != 1 {
			return true
		}
		switch value := spec.Values[0].(type) {
		case *ast.UnaryExpr:
			if strings.HasPrefix(spec.Names[0].Name, "Code") {
				codes = append(codes, "-"+value.X.(*ast.BasicLit).Value)
			}
		case *ast.BasicLit:
			// The two that have a code of their own are for statistics.
			name := spec.Names[0].Name
			if strings.HasPrefix(name, "Reason") && name != "ReasonMethodNotFound" && name != "ReasonNotAuthorized" {
				reason, err := strconv.Unquote(value.Value)
				require.NoError(t, err)
				reasons = append(reasons, reason)
			}
		}
		return true
	})
	require.NotEmpty(t, codes)
	return codes, reasons
}
